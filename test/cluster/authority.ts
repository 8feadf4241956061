import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const VALID_DAYS = '365';

export interface ClusterUser {
  name: string;
  groups?: readonly string[] | undefined;
}

export interface KeyPair {
  certPem: string;
  keyPem: string;
}

/** The CA of a cluster: whom it certifies, the API server knows (Kubernetes, "Authenticating": CN is the user, each O a group). */
export class Authority {
  readonly dir: string;
  readonly caFile: string;
  readonly caKeyFile: string;
  /** Signs and verifies the tokens of ServiceAccounts. */
  readonly serviceAccountKeyFile: string;

  /** Made on first use; later the same. */
  constructor(dir: string) {
    this.dir = dir;
    this.caFile = join(dir, 'ca.crt');
    this.caKeyFile = join(dir, 'ca.key');
    this.serviceAccountKeyFile = join(dir, 'service-account.key');
    if (existsSync(this.serviceAccountKeyFile)) return;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const usages = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
    openssl([
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      this.caKeyFile,
      '-out',
      this.caFile,
      '-subj',
      '/CN=sidekey-test-ca',
      ...usages,
    ]);
    openssl(['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', this.serviceAccountKeyFile]);
  }

  get caPem(): string {
    return readFileSync(this.caFile, 'utf8');
  }

  /** Certifies a user (and a server, if it has `addresses` such as `DNS:localhost` and `IP:127.0.0.1`), once per `file`. */
  issue(
    file: string,
    user: ClusterUser,
    addresses: readonly string[] = [],
  ): KeyPair & { certFile: string; keyFile: string } {
    const certFile = join(this.dir, `${file}.crt`);
    const keyFile = join(this.dir, `${file}.key`);
    if (!existsSync(certFile)) {
      const subject = [...(user.groups ?? []).map((group) => `O=${escaped(group)}`), `CN=${escaped(user.name)}`];
      openssl([
        ...[
          'req',
          '-x509',
          '-CA',
          this.caFile,
          '-CAkey',
          this.caKeyFile,
          ...NEW_KEY,
          '-keyout',
          keyFile,
          '-out',
          certFile,
        ],
        ...['-subj', `/${subject.join('/')}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
        ...['-addext', `extendedKeyUsage=clientAuth${addresses.length > 0 ? ',serverAuth' : ''}`],
        ...(addresses.length > 0 ? ['-addext', `subjectAltName=${addresses.join(',')}`] : []),
      ]);
    }
    return { certFile, keyFile, certPem: readFileSync(certFile, 'utf8'), keyPem: readFileSync(keyFile, 'utf8') };
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-sha256', '-days', VALID_DAYS];

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function escaped(value: string): string {
  return value.replace(/[\\/+]/g, (character) => `\\${character}`);
}
