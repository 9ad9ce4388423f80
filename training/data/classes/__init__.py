"""Class tables of the data sets: names and ids, as their benchmarks have them."""
