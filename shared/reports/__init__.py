"""One HTML file that shows what a command did: its table of cases, every slice of them, its figures."""
