"""Visible output: charts, grids of images, HTML pages and progress bars."""
