"""What runs beside a camera: pictures of a folder, a video or a stream, kept on the disk until they are sent."""
