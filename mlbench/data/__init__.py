"""Data: sources of pictures, and the scenarios that cut them into streams of tasks."""
