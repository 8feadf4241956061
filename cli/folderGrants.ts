import type { Grant } from '../api/grant.ts';
import type { CredentialRecord } from '../api/protocol.ts';
import { decide } from '../operator/decide/decide.ts';
import { againstNothing } from '../operator/decide/input.ts';
import { FolderSource } from '../operator/source/folder.ts';
import type { Problem, SourceSnapshot } from '../operator/source/objectSource.ts';
import { grantsFor, type IntegrationObject, type Subject } from '../store/grants.ts';

/** What a folder would put in force, by the operator's own decision, whether or not anything runs. */
export interface FolderObjects {
  credentials: ReadonlyMap<string, CredentialRecord>;
  integrations: readonly IntegrationObject[];
  problems: readonly Problem[];
  /** Objects that are not in force, with why: `Integration default/x: HostOutsideCredential: …`. */
  notInForce: readonly string[];
}

/** Reads a folder once and decides what is in force of it. */
export async function folderObjects(path: string): Promise<FolderObjects> {
  const source = new FolderSource(path);
  try {
    await source.start(() => {});
    return objectsInForce(source.snapshot());
  } finally {
    source.close();
  }
}

/** What is in force of the objects, whatever values their Credentials have. */
export function objectsInForce(snapshot: SourceSnapshot): FolderObjects {
  const { plan, statuses } = decide(againstNothing(snapshot, new Date()));
  const integrations = plan.putIntegrations.map(({ key, record }) => ({ key, record }));
  const programmed = new Set(integrations.map(({ key }) => key));
  return {
    credentials: new Map(plan.putCredentials.map(({ key, record }) => [key, record])),
    integrations,
    problems: snapshot.problems,
    notInForce: statuses
      .filter(({ kind, key }) => kind === 'Integration' && !programmed.has(key))
      .map(({ key, status }) => {
        const why = status.conditions.find(
          (one) => one.type !== 'Ready' && one.status === 'False' && one.type !== 'HostConflict',
        );
        return `Integration ${key} is not in force: ${why?.message ?? 'see sidekey get'}`;
      }),
  };
}

/** What a session of that kind is granted: the store's own rule; the order in which one wins over another. */
export function grantsOf(objects: FolderObjects, subject: Subject): Grant[] {
  return grantsFor(subject, objects.integrations, objects.credentials).sort(
    (a, b) => compare(a.createdAt, b.createdAt) || compare(a.integration, b.integration),
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
