"""What classes are called, how they nest, and how they are confused."""
