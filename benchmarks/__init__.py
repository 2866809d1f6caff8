"""steadyread measured beside other libraries: `make bench` runs every table and writes docs/benchmarks.md."""
