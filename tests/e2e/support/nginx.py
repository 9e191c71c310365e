"""nginx's real package."""
import os
import shutil
import subprocess

from support.neighbour import Neighbour

CONF = '''
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log; {user}
events {{ worker_connections 256; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    upstream app {{ server unix:{socket}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto https;
        }}
    }}
}}
'''


def find():
    return shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin:/sbin')


class Nginx(Neighbour):
    """In front of a server on a unix socket."""

    def __init__(self, server):
        self.directory = server.directory / 'nginx'
        self.directory.mkdir()
        super().__init__(self.directory / 'nginx.log')
        user = 'user root;' if os.geteuid() == 0 else ''
        conf = self.directory / 'nginx.conf'
        conf.write_text(CONF.format(dir=self.directory, socket=server.address, port=self.port, user=user))
        self.start([find(), '-p', str(self.directory), '-c', str(conf)], stderr=subprocess.DEVNULL, start_new_session=True)
