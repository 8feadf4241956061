import type { Grant } from '../../api/grant.ts';
import type { Authority } from '../decide/authority.ts';
import { compileEntry, type Entry } from './entry.ts';

const NONE: readonly Entry[] = [];

/** Entries of one host name by port, for each scheme. */
class HostRow {
  readonly https = new Map<number, Entry[]>();
  readonly http = new Map<number, Entry[]>();

  add(entry: Entry, port: number | undefined): void {
    put(this.https, port ?? 443, entry);
    put(this.http, port ?? 80, entry);
  }
}

/** What a session may use now, by host: compiled once per change, asked once per request (data path rule 14). Immutable. */
export class GrantTable {
  static readonly empty: GrantTable = new GrantTable([]);

  /** Oldest first, then by name. */
  readonly entries: readonly Entry[];
  /** Includes what wildcards give to these names, so that one look-up finds all. */
  readonly #exact = new Map<string, HostRow>();
  /** By what follows `*`, such as `.example.com`. */
  readonly #wildcard = new Map<string, HostRow>();
  readonly #aliases = new Map<string, Entry>();

  /** Entries of `previous` are kept where their grants have not changed, and the counts of limits in any case. */
  static compile(grants: Iterable<Grant>, previous?: GrantTable): GrantTable {
    const before = new Map(previous?.entries.map((entry) => [entry.integration, entry]));
    return new GrantTable(Array.from(grants, (grant) => compileEntry(grant, before.get(grant.integration))));
  }

  private constructor(entries: readonly Entry[]) {
    this.entries = [...entries].sort(byAge);
    const exact = new Set(this.entries.flatMap(({ hosts }) => hosts.filter((h) => !h.wildcard).map((h) => h.name)));
    const exactBySuffix = Map.groupBy(exact, suffixOf);
    // In the order of the entries, so that every list comes out sorted.
    for (const entry of this.entries) {
      const { alias } = entry.grant;
      if (alias !== undefined && !this.#aliases.has(alias)) this.#aliases.set(alias, entry);
      for (const { name, wildcard, port } of entry.hosts) {
        if (!wildcard) row(this.#exact, name).add(entry, port);
        else {
          row(this.#wildcard, `.${name}`).add(entry, port);
          for (const covered of exactBySuffix.get(`.${name}`) ?? []) row(this.#exact, covered).add(entry, port);
        }
      }
    }
  }

  /** The Integrations that cover the authority, oldest first, then by name. */
  find(host: string, port: number, scheme: Authority['scheme']): readonly Entry[] {
    return this.#row(host)?.[scheme].get(port) ?? NONE;
  }

  /** Whether any Integration covers host and port under either scheme: then a tunnel to it is intercepted (data path rule 11). */
  covers(host: string, port: number): boolean {
    const found = this.#row(host);
    return found !== undefined && (found.https.has(port) || found.http.has(port));
  }

  /** The Integration of the alias; of several the oldest, then the first by name. */
  alias(name: string): Entry | undefined {
    return this.#aliases.get(name);
  }

  #row(host: string): HostRow | undefined {
    return this.#exact.get(host) ?? (this.#wildcard.size === 0 ? undefined : this.#wildcard.get(suffixOf(host)));
  }
}

/** All but the first label, with its dot; nothing if there is no other label. */
function suffixOf(host: string): string {
  const dot = host.indexOf('.');
  return dot <= 0 ? '' : host.slice(dot);
}

function row(rows: Map<string, HostRow>, name: string): HostRow {
  const found = rows.get(name) ?? new HostRow();
  rows.set(name, found);
  return found;
}

function put(lists: Map<number, Entry[]>, port: number, entry: Entry): void {
  const list = lists.get(port);
  if (list === undefined) lists.set(port, [entry]);
  else if (!list.includes(entry)) list.push(entry);
}

function byAge(a: Entry, b: Entry): number {
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs - b.createdAtMs;
  return a.integration < b.integration ? -1 : a.integration > b.integration ? 1 : 0;
}
