# python_requests.py BASE_URL TOKEN_FILE COUNT CA_FILE: the calls made with a session of requests.
# Prints the microseconds that each but the first took.
import sys
import time
import uuid

import requests

base_url, token_file, count, ca_file = sys.argv[1:5]
with open(token_file) as file:
    token = file.readline().rstrip("\n")
session = requests.Session()
session.trust_env = False
session.verify = ca_file
url = base_url + "/beta/deviceManagement/windowsAutopilotSettings/sync"


def call():
    headers = {
        "Authorization": "Bearer " + token,
        "Accept": "application/json",
        "client-request-id": str(uuid.uuid4()),
    }
    response = session.post(url, headers=headers, allow_redirects=False, timeout=60)
    if response.status_code != 204:
        raise SystemExit("status %d" % response.status_code)


call()
began = time.perf_counter()
for _ in range(int(count) - 1):
    call()
print("%.3f" % ((time.perf_counter() - began) / (int(count) - 1) * 1e6))
