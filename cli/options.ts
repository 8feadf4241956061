import { Option } from 'commander';
import type { Subject } from '../store/grants.ts';
import { usageError } from './errors.ts';

/** api/metadata.ts has it too, with the schemas, which take too long to load for `--help`. */
const DEFAULT_NAMESPACE = 'default';

/** Options that several commands have. */
export const dirOption = () =>
  new Option('--dir <DIR>', 'folder of objects (default: SIDEKEY_DIR, else the nearest one upwards with a .sidekey)');
export const outputOption = (...more: string[]) =>
  new Option('-o, --output <FORMAT>', 'how results are printed').choices(['json', ...more]);
export const namespaceOption = () =>
  new Option('-n, --namespace <NS>', `namespace of the objects (default: ${DEFAULT_NAMESPACE})`);

export const subjectOptions = () => [
  new Option('--role <ROLE>', 'role of the agent, which Integrations can ask for'),
  new Option('--tag <TAG>', 'tag of the agent; may be repeated').argParser(collect),
  new Option('-n, --namespace <NS>', 'namespace that the agent is in').default(DEFAULT_NAMESPACE),
  new Option('--service-account <SA>', 'service account of the agent').default('default'),
  new Option('--egress <MODE>', 'what happens to hosts without an Integration')
    .choices(['open', 'closed'])
    .default('open'),
];

/** `--kek` and what a transit engine needs besides. */
export const kekOptions = () => [
  new Option('--kek <PLACE>', 'where the key encryption key is (default: DIR/.sidekey/kek, or as the last time)'),
  new Option('--token-file <FILE>', 'of --kek transit:…: the token, read anew for each request'),
  new Option('--ca-file <FILE>', 'of --kek transit:…: PEM of the CA of the server'),
  new Option('--namespace <NS>', 'of --kek transit:…: the namespace that the engine is in'),
];

/** What `--kek` and `--to` take. */
export const KEK_PLACE_HELP = [
  'PLACE is file (the key file of the state directory) or file:PATH; secret:DIR, a mounted Kubernetes Secret; or',
  'transit:https://HOST:8200/MOUNT/KEY, a key of the transit engine of HashiCorp Vault or OpenBao.',
];

export interface KekFlags {
  kek?: string;
  tokenFile?: string;
  caFile?: string;
  namespace?: string;
}

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export interface SubjectFlags {
  role?: string;
  tag?: string[];
  namespace: string;
  serviceAccount: string;
  egress: 'open' | 'closed';
}

/** The subject as it was given; checkSubject says whether it is one. */
export function subjectOf(flags: SubjectFlags): Subject {
  // `--tag a,b` is what many expect.
  const tags = [...new Set((flags.tag ?? []).flatMap((tag) => tag.split(',')).filter((tag) => tag !== ''))];
  return {
    namespace: flags.namespace,
    serviceAccount: flags.serviceAccount,
    tags,
    ...(flags.role !== undefined && { role: flags.role }),
  };
}

export function egressOf(flags: Pick<SubjectFlags, 'egress'>): 'Open' | 'Closed' {
  return flags.egress === 'open' ? 'Open' : 'Closed';
}

/** `https://HOST:PORT` with commas between. @throws Usage */
export function storeUrlsOf(text = ''): string[] {
  const urls = text.split(',').filter((url) => url !== '');
  for (const url of urls)
    if (!/^https:\/\/[^/?#@]+\/?$/.test(url) || !URL.canParse(url))
      throw usageError(`--store ${url} is no URL of a store`, 'it reads https://HOST:PORT, as `sidekey up` prints it');
  return urls.map((url) => new URL(url).origin);
}

const PORT_LIMIT = 65_535;

/** @throws Usage */
export function portOf(text: string, option = '--port'): number {
  const port = Number(text);
  if (!/^[0-9]+$/.test(text) || port > PORT_LIMIT)
    throw usageError(`${option} ${text} is no port`, `a port is a number from 0 (any) to ${PORT_LIMIT}`);
  return port;
}

/** @throws Usage */
export function countOf(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw usageError(`${text} is no number of entries`);
  return Number(text);
}
