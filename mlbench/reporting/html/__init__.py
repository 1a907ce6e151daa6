"""What all pages are made of: their shell, tables, and charts in SVG."""
