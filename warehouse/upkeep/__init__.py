"""What a state folder needs beside its use: backups of it."""
