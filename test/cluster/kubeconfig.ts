import { createHash } from 'node:crypto';
import type { Authority, ClusterUser } from './authority.ts';

/** A kubeconfig, as JSON, with everything in it. */
export function kubeconfig(url: string, authority: Authority, user: ClusterUser): string {
  const { certPem, keyPem } = authority.issue(userFile(user), user);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'sidekey', cluster: { server: url, 'certificate-authority-data': base64(authority.caPem) } }],
    users: [
      { name: user.name, user: { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) } },
    ],
    contexts: [{ name: 'sidekey', context: { cluster: 'sidekey', user: user.name } }],
    'current-context': 'sidekey',
  });
}

/** A name of its own for each user with its groups, whatever characters those have. */
export function userFile({ groups = [], name }: ClusterUser): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([name, groups]))
    .digest('hex')
    .slice(0, 8);
  return `user-${name.replace(/[^a-z0-9.-]/gi, '_').slice(0, 60)}-${hash}`;
}
