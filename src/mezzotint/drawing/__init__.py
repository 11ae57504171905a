"""What a person looks at: pictures of pictures, and their colours."""
