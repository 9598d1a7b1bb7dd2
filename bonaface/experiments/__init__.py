"""The report as a program: a file of experiments -> runs -> tables, measured beside reported."""
