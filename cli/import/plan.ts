import { HostPattern } from '../../api/host.ts';
import { PLACEHOLDER_MARK, placeholderOf } from '../../api/placeholder.ts';
import { hostsOf, type Provider, type ProviderKey, recognise } from '../providers.ts';
import { type EnvPart, parseEnv } from './envFile.ts';

/** What an import does, decided before anything is written. */
export interface ImportPlan {
  credentials: PlannedCredential[];
  /** Variables that stay as they are. */
  untouched: { name: string /** Whether the name speaks of a secret. */; maybeSecret: boolean; why?: string }[];
  /** The new file's text: placeholders where keys were. */
  newEnv: string;
}

export interface PlannedCredential {
  provider: Provider;
  /** `namespace/name` */
  key: string;
  namespace: string;
  name: string;
  hosts: string[];
  fields: { field: string; variables: string[]; value: string }[];
  placeholder: string;
  username?: string;
}

export const ENV_HEADER =
  '# Written by `sidekey import`: placeholders instead of keys. Start the agent with `sidekey run`.\n';
const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSW|PWD|CREDENTIAL|DSN|DATABASE_URL|PRIVATE)/i;

/** Reads the text of a .env file and plans its import. Pure. */
export function planImport(text: string, namespace: string): ImportPlan {
  const parts = parseEnv(text);
  const variables = new Map(
    parts.flatMap((part) => (part.kind === 'variable' ? [[part.name, part.value] as const] : [])),
  );
  const credentials = new Map<string, PlannedCredential>();
  const untouched: ImportPlan['untouched'] = [];
  const replaced = new Map<string, PlannedCredential>();
  for (const [name, value] of variables) {
    const found = value === '' || value.includes(PLACEHOLDER_MARK) ? undefined : recognise(name, value);
    const why = found === undefined ? undefined : add(credentials, variables, found, name, value, namespace);
    if (found !== undefined && why === undefined) replaced.set(name, credentials.get(found.provider.name)!);
    else untouched.push({ name, maybeSecret: maybeSecret(name, value), ...(why !== undefined && { why }) });
  }
  return { credentials: [...credentials.values()], untouched, newEnv: rewrite(parts, replaced) };
}

/** Adds a key to its provider's credential; says why not if it cannot. */
function add(
  credentials: Map<string, PlannedCredential>,
  variables: ReadonlyMap<string, string>,
  { provider, key }: { provider: Provider; key: ProviderKey },
  name: string,
  value: string,
  namespace: string,
): string | undefined {
  if (/[\x00-\x1f\x7f]/.test(value)) return 'its value has a line break or control byte, which no header can carry';
  const username = provider.usernameVariable === undefined ? undefined : variables.get(provider.usernameVariable);
  if (provider.usernameVariable !== undefined && !username)
    return `${provider.usernameVariable}, the user name that goes with it, is not in the file`;
  const known = credentials.get(provider.name);
  const credential = known ?? newCredential(provider, variables, namespace, username);
  const field = credential.fields.find((one) => one.field === key.field);
  if (field !== undefined && field.value !== value)
    return `${field.variables.join(', ')} already has another key for ${provider.name}; write a Credential of its own for it`;
  if (field === undefined) credential.fields.push({ field: key.field, variables: [name], value });
  else field.variables.push(name);
  credentials.set(provider.name, credential);
  return undefined;
}

function newCredential(
  provider: Provider,
  variables: ReadonlyMap<string, string>,
  namespace: string,
  username: string | undefined,
): PlannedCredential {
  const name = `${provider.name}-key`;
  const key = `${namespace}/${name}`;
  const own = baseHost(provider, variables);
  const hosts = own === undefined ? hostsOf(provider) : [own];
  return {
    provider,
    key,
    namespace,
    name,
    hosts,
    fields: [],
    placeholder: placeholderOf({ key, hosts }),
    ...(username !== undefined && { username }),
  };
}

/** The host that the file points the SDK at, if that is not the provider's own. */
function baseHost(provider: Provider, variables: ReadonlyMap<string, string>): string | undefined {
  for (const name of provider.baseUrls ?? []) {
    const url = URL.parse(variables.get(name) ?? '');
    if (url === null || url.protocol !== 'https:') continue;
    const host = url.port === '' ? url.hostname : `${url.hostname}:${url.port}`;
    if (HostPattern.safeParse(host).success) return host;
  }
  return undefined;
}

function rewrite(parts: readonly EnvPart[], replaced: ReadonlyMap<string, PlannedCredential>): string {
  const secrets = [...replaced.values()].flatMap(({ fields }) => fields.map(({ value }) => value));
  const lines = parts.map((part) => {
    if (part.kind === 'variable') {
      const credential = replaced.get(part.name);
      if (credential !== undefined) return `${part.lead}${part.name}=${credential.placeholder}\n`;
    }
    // A key that somebody left in a comment, or in another variable (such as a URL).
    return secrets.some((secret) => part.raw.includes(secret)) ? '' : part.raw;
  });
  const body = lines.join('');
  return body.startsWith(ENV_HEADER) ? body : ENV_HEADER + body;
}

function maybeSecret(name: string, value: string): boolean {
  return (
    value !== '' &&
    !value.includes(PLACEHOLDER_MARK) &&
    (SECRET_NAME.test(name) || /:\/\/[^/\s:]+:[^/\s@]+@/.test(value))
  );
}
