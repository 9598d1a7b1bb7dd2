"""Charts as SVG, drawn without a plotting library, and the pages on which they stand."""
