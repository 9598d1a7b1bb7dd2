"""What goes out: embedding at run time, submissions."""
