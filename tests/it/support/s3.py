"""A store that speaks S3, for tests/it/external.rs and storage.rs: moto's, with users and keys. It is told what to do line by line, in JSON."""

import base64
import json
import sys
import urllib.request

import boto3
import flask
import moto.iam.access_control as access
from moto.server import ThreadedMotoServer

signed = access.IAMRequestBase._create_aws_request


def signed_as_it_was_sent(self):
    """Moto decodes a query before it looks whether it was signed: `prefix=deals%2F` then fits no signature."""
    request = signed(self)
    request.url = flask.request.environ["RAW_URI"]
    return request


access.IAMRequestBase._create_aws_request = signed_as_it_was_sent
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
keys = {"aws_access_key_id": "first", "aws_secret_access_key": "first"}


def client(kind):
    return boto3.client(kind, endpoint_url=url, region_name="us-east-1", **keys)


def user(name, resource):
    iam = client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "*" if resource == "*" else "s3:*", "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    return iam.create_access_key(UserName=name)["AccessKey"]


def do(command):
    global server
    match command:
        case ["bucket", name]:
            client("s3").create_bucket(Bucket=name)
        case ["put", bucket, key, content]:
            client("s3").put_object(Bucket=bucket, Key=key, Body=base64.b64decode(content))
        case ["delete", bucket, key]:
            client("s3").delete_object(Bucket=bucket, Key=key)
        case ["list", bucket, prefix]:
            pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [item["Key"] for page in pages for item in page.get("Contents", [])]
        case ["stop"]:
            server.stop()
        case ["start"]:
            # What it holds outlives it.
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
            server.start()
        case ["user", name, bucket]:
            key = user(name, [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
            return [key["AccessKeyId"], key["SecretAccessKey"]]
        case ["guard"]:
            key = user("administrator", "*")
            keys.update(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
            plain = {"Content-Type": "text/plain"}
            urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", plain))
    return []


print(json.dumps([url]), flush=True)
for line in sys.stdin:
    print(json.dumps(do(json.loads(line))), flush=True)
server.stop()
