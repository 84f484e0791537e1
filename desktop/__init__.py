"""The desktop: a window and a tray icon over the client; knows no manager of the engine."""
