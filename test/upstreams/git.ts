import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { basicOf, LookAlike } from './lookAlike.ts';
import type { UpstreamTls } from './tls.ts';

const run = promisify(execFile);
const HEAD_LIMIT_BYTES = 16 * 1024;
/** Nothing of the person's own git configuration. */
const GIT_ENV = {
  PATH: process.env.PATH,
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'Look-alike',
  GIT_AUTHOR_EMAIL: 'look-alike@example.com',
  GIT_COMMITTER_NAME: 'Look-alike',
  GIT_COMMITTER_EMAIL: 'look-alike@example.com',
};

/**
 * A look-alike of github.com for git: one repository, `/acme/web.git`, served by git's own `git http-backend` (CGI, RFC 3875).
 *
 * Every request needs Basic with any user name and the token as password, as GitHub wants it.
 */
export class Git extends LookAlike {
  /** The one token that is taken; set another to rotate. */
  token: string;
  /** The password of the last request that had one, right or wrong: git asks without one first. */
  lastToken: string | undefined;
  #root: string | undefined;

  constructor(options: { token: string; tls?: UpstreamTls | undefined }) {
    super(options);
    this.token = options.token;
  }

  /** The bare repository on disk, for a look at what was pushed. */
  get repository(): string {
    if (this.#root === undefined) throw new Error('not started');
    return join(this.#root, 'acme/web.git');
  }

  override async start(): Promise<this> {
    this.#root = await mkdtemp(join(tmpdir(), 'sidekey-git-'));
    await createRepository(this.repository);
    return super.start();
  }

  override async close(): Promise<void> {
    await super.close();
    if (this.#root !== undefined) await rm(this.#root, { recursive: true, force: true });
  }

  protected override async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const password = basicOf(request)?.password;
    if (password !== undefined) this.lastToken = password;
    if (password !== this.token) {
      const message = password === undefined ? 'Authentication required' : 'Invalid username or token.';
      // The body goes unread: git sends little before it knows that it may.
      response
        .writeHead(401, {
          'www-authenticate': 'Basic realm="GitHub"',
          'content-type': 'text/plain',
          connection: 'close',
        })
        .end(`${message}\n`);
      return;
    }
    await this.#serve(request, response);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path, query = ''] = request.url!.split('?', 2);
    const { headers } = request;
    const backend = spawn('git', ['http-backend'], {
      env: {
        ...GIT_ENV,
        GIT_PROJECT_ROOT: this.#root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
        REQUEST_METHOD: request.method,
        PATH_INFO: decodeURIComponent(path!),
        QUERY_STRING: query,
        REMOTE_USER: 'agent',
        CONTENT_TYPE: headers['content-type'] ?? '',
        ...(headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: headers['content-length'] }),
        ...(headers['content-encoding'] === undefined ? {} : { HTTP_CONTENT_ENCODING: headers['content-encoding'] }),
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    response.on('close', () => backend.kill());
    // The backend may stop reading before the body is over; its answer says why.
    pipeline(request, backend.stdin).catch(() => backend.stdin.destroy());
    const rest = await readCgiHead(backend.stdout, response);
    response.write(rest);
    await pipeline(backend.stdout, response);
  }
}

/** Takes status and fields from the head of a CGI answer; returns what came after it. */
async function readCgiHead(stdout: NodeJS.ReadableStream, response: ServerResponse): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n');
    if (end !== -1) {
      for (const line of bytes.toString('latin1', 0, end).split('\r\n')) {
        const colon = line.indexOf(':');
        const value = line.slice(colon + 1).trim();
        if (/^status:/i.test(line)) response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(line.slice(0, colon), value);
      }
      return bytes.subarray(end + 4);
    }
    if (bytes.length > HEAD_LIMIT_BYTES) throw new Error('git http-backend answered without a head');
    const chunk = stdout.read() as Buffer | null;
    if (chunk !== null) bytes = Buffer.concat([bytes, chunk]);
    else
      await Promise.race([
        once(stdout, 'readable'),
        once(stdout, 'end').then(() => Promise.reject(new Error('git http-backend gave no answer'))),
      ]);
  }
}

/** A bare repository with one commit on `main`, which may be pushed to. */
async function createRepository(path: string): Promise<void> {
  const git = async (args: string[], input?: string): Promise<string> => {
    const running = run('git', args, { env: GIT_ENV });
    if (input !== undefined) running.child.stdin?.end(input);
    return (await running).stdout.trim();
  };
  await git(['init', '--quiet', '--bare', '--initial-branch=main', path]);
  const inside = (args: string[], input?: string) => git(['-C', path, ...args], input);
  await inside(['config', 'http.receivepack', 'true']);
  const blob = await inside(['hash-object', '-w', '--stdin'], '# web\n');
  const tree = await inside(['mktree'], `100644 blob ${blob}\tREADME.md\n`);
  const commit = await inside(['commit-tree', tree, '-m', 'Begin']);
  await inside(['update-ref', 'refs/heads/main', commit]);
}
