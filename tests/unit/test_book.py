from streams.book import Book


def test_a_page_balances_while_all_that_came_in_is_accounted_for() -> None:
    book = Book()
    page = book.page("metrics.raw", 3)
    page.came_in += 10
    page.accepted += 7
    page.rejected += 2
    assert book.unbalanced() == ["metrics.raw[3]: 10 came in, 9 are accounted for"]
    page.duplicates += 1
    assert book.unbalanced() == []


def test_what_is_counted_twice_is_as_wrong_as_what_is_missing() -> None:
    book = Book()
    page = book.page("metrics.unique", 0)
    page.came_in += 3
    page.pushed += 3
    page.replays += 3
    assert book.unbalanced() == ["metrics.unique[0]: 3 came in, 6 are accounted for"]


def test_a_mistake_on_one_page_is_not_made_up_for_by_another() -> None:
    book = Book()
    book.page("metrics.raw", 0).came_in += 1
    book.page("metrics.raw", 1).accepted += 1
    assert len(book.unbalanced()) == 2


def test_the_book_is_shown_by_topic_and_partition() -> None:
    book = Book()
    page = book.page("metrics.unique", 2)
    page.came_in += 5
    page.pushed += 5
    (shown,) = book.shown()["metrics.unique"].values()
    assert (shown["came_in"], shown["pushed"], shown["balanced"]) == (5, 5, True)
