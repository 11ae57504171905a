"""What a person looks at: charts, grids of images, HTML pages and progress bars."""
