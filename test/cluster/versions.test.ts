import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { GO_PROGRAMS, KUBERNETES_VERSION } from './versions.ts';

test('go.mod files pin what the table of versions says, with all of Kubernetes at one version', () => {
  for (const { module, required } of Object.values(GO_PROGRAMS)) {
    if (required === undefined) continue;
    const goMod = readFileSync(new URL(`./go/${module}/go.mod`, import.meta.url), 'utf8');
    expect(
      goMod.split('\n').map((line) =>
        line
          .trim()
          .replace(/ \/\/ indirect$/, '')
          .replace(/^require /, ''),
      ),
    ).toContain(`${required.path} ${required.version}`);
    for (const [, version] of goMod.matchAll(/=> k8s\.io\/\S+ v0\.(\S+)/g))
      expect(version).toBe(KUBERNETES_VERSION.slice('1.'.length));
  }
});
