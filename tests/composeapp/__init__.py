"""An application of five services for Compose: a database, a web service, a proxy, a worker, a one-shot migration.

``real`` runs PostgreSQL, Python and nginx on Debian; ``small`` has the same shape from busybox alone, for every test
run. ``write`` puts its folder together; Compose of today and 1.29.2 read different files.
"""

from __future__ import annotations

from pathlib import Path

PASSWORD = "swordfish"
PROJECT = "shop"

_REAL_DB = """
#!/bin/sh
set -e
bin=/usr/lib/postgresql/15/bin
if [ ! -d /data/db ]; then
  mkdir -p /data/db && chown postgres /data/db
  cp /run/secrets/password /tmp/password && chown postgres /tmp/password
  su postgres -c "$bin/initdb -D /data/db -A scram-sha-256 --pwfile=/tmp/password >/dev/null"
  echo "host all all all scram-sha-256" >>/data/db/pg_hba.conf
fi
exec su postgres -c "exec $bin/postgres -D /data/db -c listen_addresses='*'"
"""
_REAL_CLIENT = """
import psycopg2

def connect():
    password = open("/run/secrets/password").read().strip()
    return psycopg2.connect(host="db", user="postgres", password=password, connect_timeout=10)
"""
_REAL_MIGRATE = """
from client import connect

with connect() as database, database.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS jobs (id serial PRIMARY KEY, done boolean DEFAULT false, by text)")
    cursor.execute("INSERT INTO jobs DEFAULT VALUES")
print("migrated")
"""
_REAL_WEB = """
import json, os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from client import connect

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with connect() as database, database.cursor() as cursor:
            cursor.execute("SELECT count(*), count(*) FILTER (WHERE done) FROM jobs")
            jobs, done = cursor.fetchone()
        page = "/site/page.txt" if os.path.exists("/site/page.txt") else "/app/page.txt"
        body = json.dumps({"host": socket.gethostname(), "greeting": json.load(open("/etc/web.json"))["greeting"],
                           "jobs": jobs, "done": done, "page": open(page).read().strip()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
_REAL_PROBE = """
from urllib.request import urlopen

urlopen("http://127.0.0.1:8000/", timeout=4)
"""
_REAL_WORKER = """
import socket, time
from client import connect

while True:
    with connect() as database, database.cursor() as cursor:
        cursor.execute("UPDATE jobs SET done = true, by = %s WHERE NOT done", (socket.gethostname(),))
        if cursor.rowcount:
            print("did", cursor.rowcount, flush=True)
    time.sleep(0.2)
"""
_NGINX = """
user root;
events {}
http {
  access_log /dev/stdout;
  server {
    listen 80;
    resolver 127.0.0.11 valid=1s ipv6=off;
    set $upstream http://web:8000;
    location / { proxy_pass $upstream; }
  }
}
"""
_SMALL_DB = """
mkdir -p /data/db
[ -f /data/db/jobs ] || : >/data/db/jobs
cat >/tmp/serve <<'END'
read word rest
case $word in
  add) echo waiting >>/data/db/jobs; echo ok ;;
  work) sed -i s/waiting/done/ /data/db/jobs; echo ok ;;
  count) echo "$(grep -c . /data/db/jobs) $(grep -c done /data/db/jobs)" ;;
esac
END
touch /tmp/ready
exec nc -ll -p 5432 -e sh /tmp/serve
"""
_SMALL_MIGRATE = "echo add | nc db 5432 && cmp /run/secrets/password /app/password.txt && echo migrated\n"
_SMALL_WEB = """
mkdir -p /www/cgi-bin
cat >/www/cgi-bin/index <<'END'
#!/bin/sh
set -- $(echo count | nc db 5432)
greeting=$(sed 's/.*: "//; s/".*//' /etc/web.json)
printf 'Content-Type: application/json\\r\\n\\r\\n'
printf '{"host": "%s", "greeting": "%s", "jobs": %s, "done": %s, "page": "%s"}' \\
  "$(hostname)" "$greeting" "$1" "$2" "$(cat /site/page.txt 2>/dev/null || cat /app/page.txt)"
END
chmod 755 /www/cgi-bin/index
exec httpd -f -p 8000 -h /www
"""
_SMALL_WORKER = "while :; do echo work | nc db 5432 >/dev/null && echo did; sleep 0.2; done\n"
_SMALL_PROXY = """
mkdir -p /www/cgi-bin
cat >/www/cgi-bin/index <<'END'
#!/bin/sh
printf 'Content-Type: application/json\\r\\n\\r\\n'
wget -q -O - http://web:8000/cgi-bin/index
END
chmod 755 /www/cgi-bin/index
exec httpd -f -p 80 -h /www
"""

_COMPOSE = """
{head}
services:
  db:
    image: {image}
    command: ["sh", "/app/db.sh"]
    init: true
    secrets: [password]
    volumes: ["data:/data", "./app:/app:ro"]
    networks: [back]
    stop_signal: SIGINT
    healthcheck: {{test: {ready}, interval: 1s, timeout: 5s, retries: 60, start_period: 1s}}
  migrate:
    image: {image}
    command: {migrate}
    secrets: [password]
    volumes: ["./app:/app:ro"]
    networks: [back]
    depends_on: {{db: {{condition: service_healthy}}}}
  web:
    image: {image}
    command: {web}
    init: true
    environment: {{LANG: C.UTF-8, FROM_FILE: "${{FROM_FILE:-unset}}"}}
    env_file: [web.env]
    secrets: [password]
    volumes: {web_volumes}
    {web_configs}
    networks: {{back: {{}}, front: {{aliases: [frontend]}}}}
    depends_on:
      db: {{condition: service_healthy}}
      migrate: {{condition: service_completed_successfully}}
    healthcheck: {{test: ["CMD-SHELL", "{probe}"], interval: 1s, timeout: 5s, retries: 60}}
    {develop}
  worker:
    image: {image}
    command: {worker}
    init: true
    secrets: [password]
    volumes: ["./app:/app:ro"]
    networks: [back]
    depends_on: {{migrate: {{condition: service_completed_successfully}}}}
    restart: unless-stopped
  proxy:
    image: {image}
    command: {proxy}
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro", "./app:/app:ro"]
    ports: ["127.0.0.1::80"]
    networks: [front]
    depends_on: {{web: {{condition: service_healthy}}}}
  tools:
    image: {image}
    command: ["sleep", "1000"]
    init: true
    profiles: [tools]
    networks: [back]
networks:
  front: {{}}
  back: {{internal: true, labels: {{purpose: data}}}}
volumes:
  data: {{labels: {{purpose: data}}}}
secrets:
  password: {{file: ./password.txt}}
{tail}
"""


def write(folder: Path, image: str, *, is_real: bool, is_modern: bool) -> None:
    """Write the application into ``folder``; ``is_modern`` for Compose v2 and later, with configs and watch."""
    app = folder / "app"
    app.mkdir(parents=True, exist_ok=True)
    (folder / "site").mkdir(exist_ok=True)
    files = {"page.txt": "first page\n", "password.txt": PASSWORD}
    if is_real:
        files |= {"db.sh": _REAL_DB, "client.py": _REAL_CLIENT, "migrate.py": _REAL_MIGRATE, "web.py": _REAL_WEB}
        files |= {"worker.py": _REAL_WORKER, "probe.py": _REAL_PROBE}
    else:
        files |= {"db.sh": _SMALL_DB, "migrate.sh": _SMALL_MIGRATE, "web.sh": _SMALL_WEB}
        files |= {"worker.sh": _SMALL_WORKER, "proxy.sh": _SMALL_PROXY}
    for name, text in files.items():
        (app / name).write_text(text.lstrip())
    (folder / "password.txt").write_text(PASSWORD)
    (folder / "web.env").write_text("FROM_ENV_FILE=yes\n")
    (folder / "nginx.conf").write_text(_NGINX)
    (folder / "web.json").write_text('{"greeting": "hello"}\n')
    (folder / "compose.yaml").write_text(_text(image, is_real=is_real, is_modern=is_modern))


def _text(image: str, *, is_real: bool, is_modern: bool) -> str:
    words = (
        {
            "ready": '["CMD", "pg_isready", "-h", "127.0.0.1", "-U", "postgres"]',
            "migrate": '["python3", "/app/migrate.py"]',
            "web": '["python3", "/app/web.py"]',
            "worker": '["python3", "/app/worker.py"]',
            "proxy": '["nginx", "-g", "daemon off;"]',
            "probe": "python3 /app/probe.py",
        }
        if is_real
        else {
            "ready": '["CMD", "test", "-f", "/tmp/ready"]',
            "migrate": '["sh", "/app/migrate.sh"]',
            "web": '["sh", "/app/web.sh"]',
            "worker": '["sh", "/app/worker.sh"]',
            "proxy": '["sh", "/app/proxy.sh"]',
            "probe": "wget -q -O /dev/null http://127.0.0.1:8000/cgi-bin/index",
        }
    )
    if is_modern:
        words |= {
            "head": f"name: {PROJECT}",
            "web_volumes": '["./app:/app:ro"]',
            "web_configs": "configs: [{source: web, target: /etc/web.json}]",
            "develop": "develop: {watch: [{action: sync, path: ./site, target: /site}]}",
            "tail": 'configs:\n  web: {content: \'{"greeting": "hello"}\'}\n',
        }
    else:
        words |= {"head": 'version: "3.9"', "web_volumes": '["./app:/app:ro", "./web.json:/etc/web.json:ro"]'}
        words |= {"web_configs": "", "develop": "", "tail": ""}
    return _COMPOSE.format(image=image, **words).strip() + "\n"
