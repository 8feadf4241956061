import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bearerYaml } from './objects.ts';
import { sidekey, TestFolder, Up } from './sidekey.ts';
import { TestUpstream } from './testUpstream.ts';

const HOST = 'api.look-alike.test';
const SECRET = 'the-real-key-of-the-matrix';
const folder = new TestFolder();
const upstream = new TestUpstream([HOST]);
let up: Up;

beforeAll(async () => {
  await upstream.start();
  folder.write('api.yaml', bearerYaml({ name: 'api', host: HOST }));
  folder.write('extra-ca.pem', upstream.caPem);
  await sidekey(['credential', 'set', '--dir', folder.path, 'api-key'], { input: SECRET });
  up = await Up.start(folder.path);
  await up.ready(2);
}, 60_000);

afterAll(async () => {
  await up.stop();
  upstream.close();
  folder.remove();
});

/** A client of a runtime that knows nothing of Sidekey; `needs` must succeed for it to be on this machine. */
interface Client {
  name: string;
  needs: string;
  /** For `sh -c`, with the URL in $URL and the folder in $DIR. */
  script: string;
  file?: { name: string; text: string };
  slow?: boolean;
}

const PYTHON = 'import os, urllib.request as r; print(r.urlopen(os.environ["URL"]).read().decode())';
const GO = `package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Getenv("URL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Println(string(body))
}
`;
const JAVA = `import java.io.*;
import java.net.*;
import java.net.http.*;

public class Get {
  public static void main(String[] args) throws Exception {
    var url = URI.create(System.getenv("URL"));
    var old = url.toURL().openConnection().getInputStream();
    var request = HttpRequest.newBuilder(url).build();
    var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    System.out.println(new String(old.readAllBytes()) + answer.body());
  }
}
`;

const CLIENTS: readonly Client[] = [
  { name: 'curl', needs: 'curl --version', script: 'curl -fsS "$URL"' },
  { name: 'curl, by base URL', needs: 'curl --version', script: 'curl -fsS "$SIDEKEY_API_URL/v1/x"' },
  { name: 'wget', needs: 'wget --version', script: 'wget -qO- "$URL" --ca-certificate="$SSL_CERT_FILE"' },
  { name: 'git', needs: 'git --version', script: `git ls-remote "https://${HOST}/acme/web.git" && echo ok` },
  { name: 'python3 urllib', needs: 'python3 --version', script: `python3 -c '${PYTHON}'` },
  {
    name: 'python3 requests',
    needs: 'python3 -c "import requests"',
    script: `python3 -c 'import os, requests; print(requests.get(os.environ["URL"]).text)'`,
  },
  {
    name: 'python3 httpx',
    needs: 'python3 -c "import httpx"',
    script: `python3 -c 'import os, httpx; print(httpx.get(os.environ["URL"]).text)'`,
  },
  {
    name: 'node fetch',
    needs: 'true',
    script: `${process.execPath} -e 'fetch(process.env.URL).then((r) => r.text()).then(console.log)'`,
  },
  {
    name: 'node https',
    needs: 'true',
    script: `${process.execPath} -e 'require("https").get(process.env.URL, (r) => r.pipe(process.stdout))'`,
  },
  {
    name: 'go',
    needs: 'go version',
    script: 'cd "$DIR" && go run get.go',
    file: { name: 'get.go', text: GO },
    slow: true,
  },
  {
    name: 'java',
    needs: 'javac -version',
    script: 'java "$DIR/Get.java"',
    file: { name: 'Get.java', text: JAVA },
    slow: true,
  },
  { name: 'ruby', needs: 'ruby --version', script: `ruby -ropen-uri -e 'puts URI.open(ENV["URL"]).read'` },
  {
    name: 'deno',
    needs: 'deno --version',
    script: `deno eval 'console.log(await (await fetch(Deno.env.get("URL"))).text())'`,
  },
  { name: 'bun', needs: 'bun --version', script: `bun -e 'console.log(await (await fetch(process.env.URL)).text())'` },
  { name: 'php', needs: 'php --version', script: `php -r 'echo file_get_contents(getenv("URL"));'` },
];

function onThisMachine({ needs }: Client): boolean {
  try {
    execFileSync('sh', ['-c', needs], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// As root, tests stay root: the runtimes of this machine may be in its home.
const AS_US = process.getuid?.() === 0 ? ['--user', 'root'] : [];

test.for(CLIENTS.filter(onThisMachine))(
  '$name reaches a covered host with the credential, knowing only a placeholder',
  {
    timeout: 120_000,
  },
  async (client) => {
    if (client.file !== undefined) folder.write(client.file.name, client.file.text);
    const before = upstream.seen.length;
    const result = await sidekey(
      ['run', '--dir', folder.path, '--tag', 'llm', '--extra-ca', `${folder.path}/extra-ca.pem`, ...AS_US].concat(
        '--',
        'sh',
        '-c',
        client.script,
      ),
      { env: { HTTPS_PROXY: upstream.proxyUrl, URL: `https://${HOST}/v1/x`, DIR: folder.path } },
    );
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining('ok') });
    const seen = upstream.seen.slice(before);
    expect(seen.length).toBeGreaterThan(0);
    for (const request of seen) expect(request).toMatchObject({ host: HOST, authorization: `Bearer ${SECRET}` });
  },
);
