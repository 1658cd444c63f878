"""Several methods on the same cases: one evaluation of all label maps, paired tests, what accuracy costs, tables and pictures."""
