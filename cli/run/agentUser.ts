import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { usageError } from '../errors.ts';

export interface AgentUser {
  uid: number;
  gid: number;
  name: string | undefined;
  home: string | undefined;
}

/** `nobody` nearly everywhere; no file is his and no process of ours runs as him. */
const NOBODY = 65_534;

/**
 * Whom the agent runs as, or undefined for the user that we are.
 *
 * Started as root, the agent must be somebody else: root reads the sidecar's memory and the state directory. So it is the user of
 * `--user`, else the one who called sudo, else nobody (uid 65534). `--user root` is possible and warned about.
 *
 * @throws Usage if there is no such user, or if we may not become him
 */
export function agentUser(wanted: string | undefined, env: NodeJS.ProcessEnv): AgentUser | undefined {
  const uid = process.getuid?.();
  if (uid !== 0) {
    if (wanted === undefined) return undefined;
    const user = lookUp(wanted);
    if (user.uid === uid) return undefined;
    throw usageError(`only root can run an agent as ${wanted}`, `use sudo, or leave out --user to run it as yourself`);
  }
  if (wanted !== undefined) return lookUp(wanted);
  const sudo = Number(env.SUDO_UID);
  return lookUp(String(Number.isInteger(sudo) && sudo > 0 ? sudo : NOBODY));
}

function lookUp(wanted: string): AgentUser {
  const [user = '', group] = wanted.split(':', 2);
  const entry = passwdEntry(user);
  const numeric = /^[0-9]{1,9}$/.test(user);
  if (entry === undefined && !numeric)
    throw usageError(`there is no user ${user} on this machine`, 'name another one, or a number such as --user 65534');
  const uid = entry?.uid ?? Number(user);
  const gid = group === undefined ? (entry?.gid ?? uid) : Number(group);
  if (!Number.isInteger(gid)) throw usageError(`${group} is no group number`, 'write --user USER:GID with a number');
  return { uid, gid, name: entry?.name, home: entry?.home };
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

function passwdEntry(user: string): PasswdEntry | undefined {
  for (const line of passwdLines(user)) {
    const fields = line.split(':');
    if (fields[0] !== user && fields[2] !== user) continue;
    // macOS has class, change and expire before the full name (passwd(5)).
    const home = fields.at(-2) ?? '';
    return { name: fields[0]!, uid: Number(fields[2]), gid: Number(fields[3]), home };
  }
  return undefined;
}

function passwdLines(user: string): string[] {
  const [command, ...args] = process.platform === 'darwin' ? ['id', '-P', user] : ['getent', 'passwd', user];
  try {
    return execFileSync(command!, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
  } catch {
    // Unknown to it, or there is none, as in small containers.
  }
  try {
    return readFileSync('/etc/passwd', 'utf8').split('\n');
  } catch {
    return [];
  }
}
