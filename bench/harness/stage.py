"""The tiny handler, called in each way that is compared: directly, through nginx, through hob."""

import os
import shutil

from .hob import Hob, write_folder
from .programs import Failed, free_port, listens, wait_for

NAME = "bench-handler"
PATH = f"/function/{NAME}"

# As fast as nginx gets: kept connections on both sides and no log. Of three servers the first two
# do nothing to the heads; the third does to them what hob does.
NGINX = """
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream tcp {{ server 127.0.0.1:{direct}; keepalive 128; keepalive_requests 100000000; }}
    upstream socket {{ server unix:{socket}; keepalive 128; keepalive_requests 100000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen 127.0.0.1:{over_tcp};
        location {path} {{ proxy_pass http://tcp/; }}
    }}
    server {{
        listen 127.0.0.1:{over_socket};
        location {path} {{ proxy_pass http://socket/; }}
    }}
    server {{
        listen 127.0.0.1:{same_fields};
        location {path} {{
            proxy_pass http://socket/;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Call-Id $request_id;
            proxy_set_header X-Start-Time $msec;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            add_header Server-Timing "queue;dur=$upstream_connect_time, run;dur=$upstream_response_time";
            add_header X-Call-Id $request_id;
            add_header X-Start-Time $msec;
        }}
    }}
}}
"""
SAME_FIELDS = "nginx over a socket, same fields"


class Stage:
    """`ways` maps each way to its (port, path). Everything is warm once it is entered."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = os.path.join(bench.scratch, "stage")
        self.hob = Hob(bench, "stage-hob")
        self.started = []
        ports = {way: free_port() for way in ("direct", "nginx over TCP", "nginx over a socket", SAME_FIELDS)}
        self.ways = {way: (port, "/" if way == "direct" else PATH) for way, port in ports.items()}
        self.ways["hob"] = (self.hob.port, PATH)

    def __enter__(self):
        try:
            os.makedirs(self.folder)
            self.start_direct()
            self.start_nginx()
            self.hob.start()
            self.hob.deploy(self.server_folder(), NAME)
            self.hob.call(NAME, b"hello")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.bench.programs.stop(process)
        self.started = []
        self.hob.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_direct(self):
        port = self.ways["direct"][0]
        env = dict(os.environ, HOB_SOCKET=self.socket, BENCH_ADDRESS=f"127.0.0.1:{port}")
        self.start([self.bench.handler], "direct", [port], env)

    @property
    def socket(self):
        return os.path.join(self.folder, "direct.sock")

    def start_nginx(self):
        servers = ("nginx over TCP", "nginx over a socket", SAME_FIELDS)
        over_tcp, over_socket, same_fields = ports = [self.ways[way][0] for way in servers]
        text = NGINX.format(folder=self.folder, socket=self.socket, direct=self.ways["direct"][0], path=PATH,
                            over_tcp=over_tcp, over_socket=over_socket, same_fields=same_fields,
                            user="user root;" if os.getuid() == 0 else "")
        write_folder(self.folder, {"nginx.conf": text})
        argv = ["nginx", "-p", self.folder, "-e", self.folder + "/nginx-error.log", "-c", self.folder + "/nginx.conf"]
        self.start(argv, "nginx", ports)

    def start(self, argv, name, ports, env=None):
        process = self.bench.programs.start(argv, name, env=env)
        self.started.append(process)
        try:
            wait_for(name, lambda: all(map(listens, ports)), process)
        except Failed as failure:
            raise Failed(f"{failure}: {self.bench.programs.log_tail(name)}")

    def server_folder(self):
        """The very program that is called directly, as a function. It may use every core, as there."""
        text = f'run = ["./handler"]\n[limits]\ncpu = {os.cpu_count()}\n'
        folder = write_folder(os.path.join(self.folder, "function"), {"hob.toml": text})
        shutil.copy(self.bench.handler, os.path.join(folder, "handler"))
        return folder
