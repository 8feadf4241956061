import { createHash } from 'node:crypto';
import { type BinaryName, binaries, clientBinary } from './binaries.ts';
import { startCluster } from './cluster.ts';
import { leave } from './e2e/traces.ts';
import { GivenCluster } from './givenCluster.ts';
import { howToLoad, IMAGES_DIR, writeImageFiles } from './imageFiles.ts';
import { agentImage, sidekeyImage } from './images.ts';
import { dockerAnswers, KindCluster } from './kindCluster.ts';
import { machineRefusal } from './machine.ts';
import { OwnCluster } from './ownCluster.ts';
import { GO_PROGRAMS } from './versions.ts';

/** One for each checkout, as they share the machine. */
const NAME = `dev-${createHash('sha256')
  .update(import.meta.url)
  .digest('hex')
  .slice(0, 6)}`;

const fromMs = performance.now();
const say = (line: string) =>
  console.error(`${((performance.now() - fromMs) / 1000).toFixed(0).padStart(4)} s  ${line}`);

const commands: Record<string, () => Promise<void>> = { build, up, down, images, clean };
const command = commands[process.argv[2] ?? ''];
if (command === undefined) {
  console.error('usage: node test/cluster/main.ts build | up | down | images [DIR] | clean');
  process.exitCode = 2;
} else
  await command().catch((error: Error) => {
    console.error(error.message);
    if (error.cause instanceof Error) console.error(error.cause.message);
    process.exitCode = 1;
  });

/** Apart from the tests, whose limits are for what takes seconds. */
async function build(): Promise<void> {
  const all = Object.keys(GO_PROGRAMS) as BinaryName[];
  await binaries(machineRefusal() === undefined ? all : ['etcd', 'kube-apiserver'], say);
  await clientBinary('kubectl');
  await clientBinary('helm');
}

async function up(): Promise<void> {
  const cluster = await startCluster({ name: NAME, kept: true, say });
  if (cluster instanceof GivenCluster) await cluster.reach();
  say('the cluster is ready');
  for (const image of [await sidekeyImage(), await agentImage()]) {
    await cluster.loadImage(image);
    say(`${image.name} is loaded: ${image.digest}`);
  }
  console.log(`export KUBECONFIG=${cluster.kubeconfigFile}`);
}

async function down(): Promise<void> {
  await OwnCluster.remove(NAME);
  if (await dockerAnswers()) await KindCluster.remove(NAME);
  say('the cluster is gone');
}

/** For a cluster that is not ours, as files. */
async function images(): Promise<void> {
  const dir = process.argv[3] ?? IMAGES_DIR;
  const made = [await sidekeyImage(), await agentImage()];
  for (const [index, file] of writeImageFiles(dir, made).entries())
    console.log(`${file}: ${made[index]!.name}, ${made[index]!.digest}`);
  console.log(howToLoad(dir));
}

/** For when nobody else did. */
async function clean(): Promise<void> {
  if (!process.env.KUBECONFIG) throw new Error('name the cluster to take traces of runs from by KUBECONFIG');
  await leave(await startCluster(), say);
}
