"""What the parts of the project cost: ``./dev bench`` runs all of it, ``./dev bench dedupe`` one."""
