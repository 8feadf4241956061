import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { rolldown } from 'rolldown';
import parts from '../../rolldown.config.ts';
import { binaries } from './binaries.ts';
import { type Image, imageArchive } from './imageArchive.ts';
import { RootFilesystem } from './rootFilesystem.ts';

export type { Image } from './imageArchive.ts';

export const PAUSE_IMAGE = 'sidekey.test/pause:1';
export const SIDEKEY_IMAGE = 'sidekey.test/sidekey:dev';
export const AGENT_IMAGE = 'sidekey.test/agent:dev';

const ROOT = new URL('../../', import.meta.url).pathname;
const NODE = `${ROOT}node_modules/node/bin/node`;
const CA_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
/** Root; that of the sidecar; and that of the other parts. */
const USERS = [0, 64_000, 65_532];
const AGENT_TOOLS = ['cat', 'env', 'false', 'grep', 'head', 'id', 'ls', 'sleep', 'tail', 'touch', 'true', 'wc'];
/** Of Python's library, what no client needs. */
const NOT_OF_PYTHON = /\/(__pycache__|test|idlelib|lib2to3|tkinter|turtledemo|ensurepip|distutils|config-[^/]*)$/;

/** What holds a pod's namespaces. */
export async function pauseImage(): Promise<Image> {
  const { pause } = await binaries(['pause']);
  const layer = new RootFilesystem().file('/pause', readFileSync(pause), 0o755).layer;
  return imageArchive({ name: PAUSE_IMAGE, layers: [layer], user: '65535', entrypoint: ['/pause'] });
}

/** The image of the product, from the sources as they are, as the Containerfile makes it (test/chart/containerfile.test.ts compares them). */
export async function sidekeyImage(): Promise<Image> {
  const programs = new RootFilesystem().program('/usr/sbin/nft');
  for (const { input, output } of parts as { input: string; output: { file: string } }[]) {
    const bundle = await rolldown({ input: ROOT + input, platform: 'node', cwd: ROOT });
    const { output: chunks } = await bundle.generate({ format: 'esm', codeSplitting: false });
    await bundle.close();
    programs.file(output.file.replace(/^dist\//, '/sidekey/'), chunks[0].code);
  }
  programs.dir('/var/lib/sidekey', 0o700, 65_532);
  return imageArchive({
    name: SIDEKEY_IMAGE,
    layers: [nodeLayer(), programs.layer],
    user: '65532:65532',
    entrypoint: ['/usr/local/bin/node', '--disable-warning=ExperimentalWarning', '/sidekey/cli.mjs'],
  });
}

/** An image for agents and upstreams: Node, the openai package, curl, Python and a shell. */
export async function agentImage(): Promise<Image> {
  const clients = new RootFilesystem()
    .program('/usr/bin/curl')
    .program('/usr/bin/sh', '/bin/sh')
    .link('/bin', 'usr/bin');
  for (const tool of AGENT_TOOLS) clients.program(`/usr/bin/${tool}`);
  const python = '/usr/bin/python3';
  const library = execFileSync(python, ['-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'], {
    encoding: 'utf8',
  }).trim();
  clients.program(python, python).tree(library, library, (path) => !NOT_OF_PYTHON.test(path));
  clients.tree('/node_modules/openai', `${ROOT}node_modules/openai`, (path) => !/\.(ts|map|mts)$|\/src$/.test(path));
  return imageArchive({ name: AGENT_IMAGE, layers: [nodeLayer(), clients.layer], user: '65532:65532' });
}

/** The lowest layer of both: containerd keeps it once, and we make it once. */
let layerOfNode: Buffer | undefined;
function nodeLayer(): Buffer {
  layerOfNode ??= newNodeLayer();
  return layerOfNode;
}

function newNodeLayer(): Buffer {
  const users = (line: (id: number) => string) => USERS.map((id) => `${line(id)}\n`).join('');
  const nameOf = (id: number) => (id === 0 ? 'root' : id === 64_000 ? 'sidekey' : 'nonroot');
  if (!existsSync(CA_CERTIFICATES))
    throw new Error('an image needs CA certificates. Run: apt-get install --no-install-recommends ca-certificates');
  return new RootFilesystem()
    .program('/usr/local/bin/node', NODE)
    .file(CA_CERTIFICATES, readFileSync(CA_CERTIFICATES))
    .file(
      '/etc/passwd',
      users((id) => `${nameOf(id)}:x:${id}:${id}::/:/sbin/nologin`),
    )
    .file(
      '/etc/group',
      users((id) => `${nameOf(id)}:x:${id}:`),
    )
    .file('/etc/nsswitch.conf', 'hosts: files dns\n')
    .dir('/tmp', 0o1777).layer;
}
