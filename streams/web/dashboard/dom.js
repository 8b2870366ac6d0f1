// Makes elements. Everything that devices sent goes in as text, never as HTML.

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Sets a text only where it differs: what stands still can be selected and copied.
export function say(element, text) {
  const said = String(text ?? "");
  if (element.textContent !== said) element.textContent = said;
}

export function panel(title, ...children) {
  return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), ...children);
}

// A table whose rows stay the same elements as long as their keys are there.
// columns: [{ title, class, cell(row) -> text, or fill(td, row) }]
export function table(columns, { empty, caption, rowClass } = {}) {
  const body = h("tbody");
  const note = h("p", { class: "empty" }, empty ?? "");
  const head = h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.class }, column.title)));
  const shown = h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, head), body);
  const rows = new Map();
  function update(list, key) {
    const keys = new Set();
    list.forEach((entry, index) => {
      const name = key(entry);
      keys.add(name);
      let row = rows.get(name);
      if (!row) {
        row = h("tr", {}, columns.map((column) => h("td", { class: column.class })));
        rows.set(name, row);
      }
      if (rowClass) row.className = rowClass(entry);
      columns.forEach((column, place) => {
        if (column.fill) column.fill(row.cells[place], entry);
        else say(row.cells[place], column.cell(entry));
      });
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    for (const [name, row] of rows) {
      if (!keys.has(name)) {
        row.remove();
        rows.delete(name);
      }
    }
    shown.hidden = list.length === 0;
    note.hidden = list.length !== 0;
  }
  update([], () => "");
  return { element: h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption ?? "table" }, shown, note), update, note };
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat());
  return element;
}
