"""S3 by the variables that the AWS tools read, for DuckDB and for files."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, urlsplit

import duckdb
import pyarrow.fs as pafs

# What DuckDB and Arrow call what a variable holds.
VARIABLES = {
    "AWS_ACCESS_KEY_ID": ("s3_access_key_id", "access_key"),
    "AWS_SECRET_ACCESS_KEY": ("s3_secret_access_key", "secret_key"),
    "AWS_SESSION_TOKEN": ("s3_session_token", "session_token"),
    "AWS_REGION": ("s3_region", "region"),
}


def set_s3(con: duckdb.DuckDBPyConnection) -> None:
    """Give DuckDB the keys and the endpoint; global, so that cursors have them too."""
    for variable, (setting, _) in VARIABLES.items():
        if os.environ.get(variable):
            con.execute(f"SET GLOBAL {setting} = ?", [os.environ[variable]])
    endpoint = _endpoint()
    if endpoint.netloc:
        con.execute("SET GLOBAL s3_endpoint = ?", [endpoint.netloc])
        con.execute("SET GLOBAL s3_use_ssl = ?", [endpoint.scheme == "https"])
        con.execute("SET GLOBAL s3_url_style = 'path'")  # servers of one's own seldom answer to a host name a bucket


def file_system() -> pafs.FileSystem:
    """Files of all buckets, by `BUCKET/KEY`.

    Raises:
        OSError: the endpoint or the region is none.
    """
    keys = {name: os.environ[variable] for variable, (_, name) in VARIABLES.items() if os.environ.get(variable)}
    endpoint = _endpoint()
    if endpoint.netloc:
        keys |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    return pafs.S3FileSystem(**keys)


def _endpoint() -> SplitResult:
    """Where S3 is, if it is not Amazon's."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
