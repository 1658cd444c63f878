from shared import startup

startup.settings()
