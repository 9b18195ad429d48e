"""What each stage learns."""
