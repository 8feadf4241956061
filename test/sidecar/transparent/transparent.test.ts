import { execFileSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { COVERED, POD, UNCOVERED, WORLD } from './addresses.ts';
import type { Attempt } from './inside.ts';

const INSIDE = new URL('inside.ts', import.meta.url).pathname;
const MASKED_SECRET = 'Bearer ***************************';
// Namespaces take root; sidecar/listen/captured.test.ts tries the same without a redirect.
const canRedirect = process.platform === 'linux' && process.getuid?.() === 0 && hasTools();

function hasTools(): boolean {
  try {
    execFileSync('bash', ['-c', 'command -v nft ip nsenter unshare setpriv curl'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

if (canRedirect)
  describe('what an agent of another user sends, captured by nftables in a network namespace', () => {
    let results: Record<string, Attempt>;
    let sidecar: { uid: number };
    let bundle: { same: boolean };
    let files: { modes: string[]; trustStore: string };
    let log: string;
    const told = (name: string) => JSON.parse(results[name]!.out);

    beforeAll(() => {
      const args = ['--net', '--mount', '--propagation', 'private', process.execPath, INSIDE];
      const out = execFileSync('unshare', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
      const all = JSON.parse(out);
      ({ sidecar, bundle, files, ...results } = all.results);
      log = all.log.join('');
    }, 90_000);

    test('its first request, made while the store is still away, waits and is credentialed', () => {
      expect(told('first')).toMatchObject({ authorization: MASKED_SECRET, url: '/first' });
      expect(results.first!.seconds).toBeGreaterThan(1);
    });

    test.each(['v4', 'v6'] as const)(
      'over IP%s TLS and plain HTTP to hosts of Integrations carry the credential',
      (family) => {
        for (const scheme of ['tls', 'http'])
          expect(told(`${scheme} ${family}`)).toEqual({
            authorization: MASKED_SECRET,
            givenUp: 0,
            host: COVERED[family],
            url: '/x',
            // Not the agent itself: it may not have the key. And the sidecar is not captured by itself.
            from: expect.stringContaining(POD[family]),
            to: expect.stringContaining(WORLD[family]),
          });
      },
    );

    test.each(['v4', 'v6'] as const)(
      'over IP%s the name counts, and not the address that the agent takes for it',
      (family) => {
        expect(told(`tls elsewhere ${family}`)).toMatchObject({
          authorization: MASKED_SECRET,
          to: expect.stringContaining(WORLD[family]),
        });
      },
    );

    test.each(['v4', 'v6'] as const)(
      'over IP%s other hosts keep their certificates and get no credential',
      (family) => {
        for (const scheme of ['tls', 'http']) {
          const { authorization, host } = told(`${scheme} uncovered ${family}`);
          expect([authorization, host]).toEqual([undefined, UNCOVERED[family]]);
        }
        expect(told('tls real certificate')).toMatchObject({ host: UNCOVERED.v4 });
      },
    );

    test.each(['v4', 'v6'] as const)('over IP%s what names no host is closed, with a log line', (family) => {
      const nameless = results[`tls nameless ${family}`]!;
      expect([nameless.code, nameless.out]).toEqual([35, '']);
      expect(nameless.error).toContain('alert access denied');
      const banner = results[`banner ${family}`]!;
      expect([banner.code, banner.out]).toEqual([0, '']);
      expect(banner.seconds).toBeLessThan(5);
      expect(log).toContain('without a server name (SNI)');
      expect(log).toContain('waits for the server to speak first');
    });

    test.each(['v4', 'v6'] as const)('over IP%s SNI and Host must agree', (family) => {
      expect(results[`disagree ${family}`]!.out).toMatch(/\n421 AuthorityMismatch$/);
    });

    test.each(['v4', 'v6'] as const)('over IP%s ports that are not captured pass as they are', (family) => {
      expect(told(`not captured ${family}`).authorization).toBeUndefined();
    });

    test('an agent that goes away while it waits for an answer takes its request along, redirected or not', () => {
      expect(told('tls real certificate').givenUp).toBe(2);
    });

    test('a sidecar that was killed and started again has the CA that its agent trusts', () => {
      expect(bundle.same).toBe(true);
      expect(told('after a restart')).toMatchObject({ authorization: MASKED_SECRET });
    });

    test('what is private is for the sidecar alone, what the agent trusts for everybody, in PEM and for Java', () => {
      expect(files.modes).toEqual([
        'intercept-ca.pem 600 64000',
        'trust-bundle.pem 600 64000',
        'ca-bundle.jks 644 64000',
        'ca-bundle.pem 644 64000',
      ]);
      expect(files.trustStore).toBe('feedfeed');
    });

    test('the sidecar runs as the user that the redirect exempts', () => {
      expect(sidecar.uid).toBe(64_000);
    });
  });
else {
  process.stdout.write(
    '!! NOT RUN: capture by nftables, which takes root on Linux, nft, ip, unshare, setpriv and curl\n',
  );
  test.skip('capture by nftables');
}
