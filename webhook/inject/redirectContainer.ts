import { isIPv6 } from 'node:net';
import type { V1Container } from '@kubernetes/client-node';
import { REDIRECT_CONTAINER, SIDECAR_PORTS, SIDECAR_UID } from '../../api/pods.ts';
import type { InjectSettings } from './settings.ts';

/**
 * Leads the pod's outgoing TCP connections to the sidecar, for all that starts after it.
 *
 * Second, after the sidecar: by then that one listens, so that nothing is led to where nobody is; and before the user's own init
 * containers, so that those are captured too. The ruleset is an argument, not an environment, which the policy allows for nobody of ours.
 */
export function redirectContainer(settings: InjectSettings, ports: readonly number[]): V1Container {
  const { apiServerAddress, image, imagePullPolicy } = settings;
  return {
    name: REDIRECT_CONTAINER,
    image,
    ...(imagePullPolicy && { imagePullPolicy }),
    command: ['/usr/sbin/nft'],
    args: [ruleset(ports, apiServerAddress)],
    securityContext: {
      // The pod may ask that nobody is root; writing rules takes root's capability.
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 0,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  };
}

/**
 * Table `inet` is for IPv4 and IPv6. Each port has a listener of its own, as a redirected socket does not tell Node where it was going
 * (SO_ORIGINAL_DST). The first two lines make it the same when it runs again, as it does when the node restarts (nft(8): one transaction).
 * The API server is called by its address, which no name in TLS tells of, and goes past the sidecar.
 */
export function ruleset(ports: readonly number[], apiServerAddress?: string): string {
  const rules = ports.map((port, i) => `    tcp dport ${port} redirect to :${SIDECAR_PORTS.transparentBase + i}`);
  return [
    'table inet sidekey',
    'delete table inet sidekey',
    'table inet sidekey {',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    `    meta skuid ${SIDECAR_UID} return`,
    '    oifname "lo" return',
    ...(apiServerAddress === undefined
      ? []
      : [`    ${isIPv6(apiServerAddress) ? 'ip6' : 'ip'} daddr ${apiServerAddress} return`]),
    ...rules,
    '  }',
    '}',
    '',
  ].join('\n');
}
