import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { agentImage } from './images.ts';
import { machineRefusal } from './machine.ts';
import { OwnCluster } from './ownCluster.ts';
import { isRunning, runningProcess } from './runningProcess.ts';

/** The first run on a machine builds everything. */
const BUILD_LIMIT_MS = 30 * 60_000;
const POD_LIMIT_MS = 60_000;

const canRun = machineRefusal() === undefined;

let cluster: OwnCluster;
let image: string;
beforeAll(async () => {
  if (!canRun) return;
  cluster = await OwnCluster.start({ say: console.error });
  image = await cluster.loadImage(await agentImage());
}, BUILD_LIMIT_MS);
afterAll(() => cluster?.stop());

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};

test.runIf(canRun)(
  'a pod with a native sidecar, by digest and with restricted rights, runs to its end and is stopped in order',
  async () => {
    const server = `require('http').createServer((q, a) => a.end('from the sidecar')).listen(8080);
    process.on('SIGTERM', () => { console.log('stopped'); process.exit(0); })`;
    await apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'agent', labels: { app: 'agent' } },
      spec: {
        restartPolicy: 'Never',
        initContainers: [
          {
            ...container('sidecar', ['/usr/local/bin/node', '-e', server]),
            restartPolicy: 'Always',
            startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            securityContext: { ...RESTRICTED, runAsUser: 64_000 },
            volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/sidekey' }],
          },
        ],
        containers: [container('main', ['/usr/bin/curl', '-sS', 'http://127.0.0.1:8080'])],
        volumes: [
          { name: 'token', projected: { sources: [{ serviceAccountToken: { path: 'token', audience: 'sidekey' } }] } },
        ],
      },
    });
    expect(await phaseOf('agent')).toBe('Succeeded');
    expect((await cluster.kubectl(['logs', 'agent', '-c', 'main'])).stdout).toBe('from the sidecar');
    expect((await cluster.kubectl(['logs', 'agent', '-c', 'sidecar'])).stdout).toBe('stopped\n');
  },
  POD_LIMIT_MS,
);

test.runIf(canRun)(
  'a pod reaches a Service by its name, the world by names that a test gives, and nothing else has a name',
  async () => {
    await apply(
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'server', labels: { app: 'server' } },
        spec: {
          containers: [
            {
              ...container('main', ['/usr/bin/python3', '-m', 'http.server', '8080', '--directory', '/etc']),
              readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            },
          ],
        },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'front' },
        spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
      },
    );
    cluster.addAddress('203.0.114.7');
    await cluster.runOnNode('upstream', [
      process.execPath,
      '-e',
      `require('http').createServer((q, a) => a.end('upstream for ' + q.headers.host)).listen(80, '203.0.114.7')`,
    ]);
    await cluster.setHosts({ 'api.example.com': '203.0.114.7' });
    await ready('server');
    const curl = (url: string) =>
      cluster.kubectl(['exec', 'server', '--', '/usr/bin/curl', '-sS', '--max-time', '5', url]);
    // A pod is ready before kube-proxy has led its Service there.
    const soon = { timeout: 10_000, interval: 200 };
    await expect
      .poll(() => curl('http://front/nsswitch.conf'), soon)
      .toEqual({ code: 0, stdout: 'hosts: files dns\n', stderr: '' });
    expect(await curl('http://front.default.svc.cluster.local/nsswitch.conf')).toMatchObject({ code: 0 });
    await expect
      .poll(() => curl('http://api.example.com/'), soon)
      .toMatchObject({ stdout: 'upstream for api.example.com' });
    expect((await curl('http://not-there.example.com/')).stderr).toContain('Could not resolve host');
  },
  POD_LIMIT_MS,
);

test.runIf(canRun)(
  'a claim without a class is bound, and what is written to it is there for the next pod',
  async () => {
    await apply({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    });
    for (const [name, command] of [
      ['writer', 'echo kept > /data/file'],
      ['reader', 'cat /data/file'],
    ] as const) {
      await apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          restartPolicy: 'Never',
          containers: [
            { ...container('main', ['/bin/sh', '-c', command]), volumeMounts: [{ name: 'data', mountPath: '/data' }] },
          ],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
        },
      });
      expect(await phaseOf(name)).toBe('Succeeded');
    }
    expect((await cluster.kubectl(['logs', 'reader'])).stdout).toBe('kept\n');
  },
  POD_LIMIT_MS,
);

test.runIf(canRun)(
  'API server, kubelet and containerd can go and come back under running pods',
  async () => {
    const startedAt = ['get', 'pod', 'server', '-o', 'jsonpath={.status.containerStatuses[0].state.running.startedAt}'];
    const { stdout: before } = await cluster.kubectl(startedAt);
    await cluster.nodeDown();
    await cluster.apiServerRestart(500);
    await cluster.nodeUp();
    await cluster.runtimeRestart();
    await apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'later' },
      spec: { restartPolicy: 'Never', containers: [container('main', ['/usr/bin/true'])] },
    });
    expect(await phaseOf('later')).toBe('Succeeded');
    expect(before).not.toBe('');
    expect(await cluster.kubectl(startedAt)).toMatchObject({ stdout: before });
  },
  POD_LIMIT_MS,
);

test.runIf(canRun)('the logs of components and pods, and the events, are collected', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-logs-'));
  await cluster.collectLogs(dir);
  expect(readdirSync(join(dir, 'components'))).toEqual(
    expect.arrayContaining([
      'containerd.log',
      'coredns.log',
      'etcd.log',
      'kube-apiserver.log',
      'kubelet.log',
      'kube-proxy.log',
    ]),
  );
  expect(readFileSync(join(dir, 'pods', 'default_agent.log'), 'utf8')).toContain('from the sidecar');
  expect(readFileSync(join(dir, 'events.txt'), 'utf8')).toContain('Started container');
  rmSync(dir, { recursive: true });
});

test.runIf(canRun)('another process finds the cluster, and leaves it alone', async () => {
  const found = await OwnCluster.resumeByKubeconfig(cluster.kubeconfigFile);
  expect(await found!.kubectl(['get', 'node', cluster.nodeName, '-o', 'name'])).toMatchObject({
    stdout: 'node/node-1\n',
  });
  await found!.stop();
  expect(cluster.machine.running).toBe(true);
});

test.runIf(canRun)(
  'when it is stopped no process, mount, namespace, cgroup or file of it is left',
  async () => {
    const { init, name } = cluster.machine.record;
    const namespaces = ['net', 'mnt', 'pid'].map((kind) => namespaceOf(init.pid, kind));
    const inThem = () =>
      processes().filter((pid) => ['net', 'mnt', 'pid'].some((kind) => namespaces.includes(namespaceOf(pid, kind))));
    expect(inThem().length).toBeGreaterThan(10);
    await cluster.stop();
    expect(isRunning(init)).toBe(false);
    expect(inThem()).toEqual([]);
    const left = processes().filter((pid) => textOf(`/proc/${pid}/cmdline`).includes(`.cache/cluster/${name}`));
    expect(left).toEqual([]);
    expect(textOf('/proc/self/mountinfo')).not.toMatch(/kubelet|containerd|\/run\/netns/);
    expect(readdirSync('/sys/fs/cgroup').filter((dir) => existsSync(`/sys/fs/cgroup/${dir}/sidekey-${name}`))).toEqual(
      [],
    );
    expect(existsSync(cluster.kubeconfigFile)).toBe(false);
  },
  POD_LIMIT_MS,
);

function container(name: string, command: string[]): Record<string, unknown> {
  return { name, image, command, securityContext: { ...RESTRICTED, runAsUser: 65_532 } };
}

async function apply(...objects: object[]): Promise<void> {
  const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
  const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], { input });
  if (code !== 0) throw new Error(stderr);
}

/** Of a pod, when it is over. */
async function phaseOf(pod: string): Promise<string> {
  for (;;) {
    const { stdout } = await cluster.kubectl(['get', 'pod', pod, '-o', 'jsonpath={.status.phase}']);
    if (['Succeeded', 'Failed'].includes(stdout)) return stdout;
    await delay(200);
  }
}

async function ready(pod: string): Promise<void> {
  const { code, stderr } = await cluster.kubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=30s']);
  if (code !== 0) throw new Error(stderr);
}

/** Without those that are over and that their parent, which may be outside, has not asked about yet. */
function processes(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && isRunning(runningProcess(pid)));
}

function namespaceOf(pid: number, kind: string): string {
  const path = `/proc/${pid}/ns/${kind}`;
  try {
    return readlinkSync(path);
  } catch {
    // It has ended since, or is no process of ours to look at.
    return `none of ${pid}`;
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
