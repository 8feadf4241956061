import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { goEnvironment, goProgram } from '../cluster/binaries.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { established } from '../crds/withCrds.ts';

/** Go modules in which other projects publish the CRDs of kinds that our chart makes objects of; `sum` as in go.sum. */
const PUBLISHED = [
  {
    module: 'github.com/cert-manager/cert-manager@v1.18.2',
    sum: 'h1:H2P75ycGcTMauV3gvpkDqLdS3RSXonWF2S49QGA1PZE=',
    file: (plural: string) => `deploy/crds/crd-${plural}.yaml`,
    group: 'cert-manager.io',
    plurals: ['certificates', 'issuers'],
  },
  {
    module: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
    sum: 'h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=',
    file: (plural: string) => `example/prometheus-operator-crd/monitoring.coreos.com_${plural}.yaml`,
    group: 'monitoring.coreos.com',
    plurals: ['servicemonitors', 'prometheusrules'],
  },
];

/** Has an API server know what cert-manager and the Prometheus operator bring, as their users have it. */
export async function serveOtherKinds(plane: ControlPlane): Promise<void> {
  for (const { file, group, module, plurals, sum } of PUBLISHED) {
    const dir = moduleDir(module, sum);
    for (const plural of plurals) {
      // cert-manager's are templates of helm, of nothing but labels and whether they are wanted at all.
      const input = readFileSync(join(dir, file(plural)), 'utf8').replace(/^.*\{\{.*\n/gm, '');
      const { code, stderr } = await plane.kubectl(['apply', '--server-side', '--filename=-'], { input });
      if (code !== 0) throw new Error(`${module}: ${stderr}`);
      await established(plane.client(), `${plural}.${group}`);
    }
  }
}

function moduleDir(module: string, sum: string): string {
  const options = { cwd: '/', encoding: 'utf8', env: goEnvironment() } as const;
  const text = execFileSync(goProgram(), ['mod', 'download', '-json', module], options);
  const downloaded = JSON.parse(text) as { Dir: string; Sum: string };
  if (downloaded.Sum !== sum) throw new Error(`${module} is ${downloaded.Sum}, not ${sum}`);
  return downloaded.Dir;
}
