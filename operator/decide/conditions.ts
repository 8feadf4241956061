import {
  CONDITION_REASONS,
  type Condition,
  type ConditionReason,
  type ConditionType,
  type ObjectStatus,
} from '../../api/condition.ts';
import { sourceKind } from '../../api/credential.ts';
import type { InvalidObject } from '../source/objectSource.ts';
import type { CredentialVerdict } from './credentialVerdict.ts';
import type { DecideInput } from './input.ts';
import type { IntegrationVerdict } from './integrationVerdict.ts';
import { integrationHeld, materialHeld, recordHeld } from './plan.ts';
import type { Violation } from './violation.ts';

type Said = Pick<Condition, 'status' | 'reason' | 'message'>;

export function credentialStatus(verdict: CredentialVerdict, input: DecideInput): ObjectStatus {
  const { held, object, violations } = verdict;
  const id = `Credential ${verdict.key}`;
  const inStore = recordHeld(verdict) && materialHeld(verdict, input);
  const resolved = violations.get('SourceResolved');
  const stored = violations.get('Stored') ?? resolved;
  const storedSaid = stored === undefined ? progress('Stored', inStore, id, input) : no(stored);
  const conditions: [ConditionType, Said][] = [
    // Ready names what a person would repair first: the checks are in that order.
    ['Ready', first([...violations.values()].map(no), [storedSaid, leasable(verdict, input)])],
    ['SourceResolved', resolved === undefined ? yes('SourceResolved') : no(resolved)],
    ['Stored', storedSaid],
  ];
  return {
    ...statusOf(id, object.generation, conditions, input),
    source: sourceKind(object.value.spec.source),
    ...(held !== undefined && held.version > 0 && verdict.record !== undefined && { version: held.version }),
    ...(held?.expiresAt !== undefined && verdict.record !== undefined && { expirationTime: held.expiresAt }),
    placeholder: verdict.placeholder,
  };
}

export function integrationStatus(
  verdict: IntegrationVerdict,
  credentialReady: boolean,
  input: DecideInput,
): ObjectStatus {
  const { credentialKey, losesTo, object, violations } = verdict;
  const id = `Integration ${verdict.key}`;
  const accepted = violations.get('Accepted');
  const refs = violations.get('ResolvedRefs');
  const [violation] = violations.values();
  const programmed =
    violation === undefined ? progress('Programmed', integrationHeld(verdict, input), id, input) : no(violation);
  const credential: Said = credentialReady
    ? yes('Ready')
    : no({
        reason: 'CredentialNotReady',
        message: `Credential ${credentialKey} is not Ready, so requests are refused; its conditions say why.`,
      });
  return statusOf(
    id,
    object.generation,
    [
      ['Ready', first([...violations.values()].map(no), [programmed, credential])],
      ['Accepted', accepted === undefined ? yes('Accepted') : no(accepted)],
      ['ResolvedRefs', refs === undefined ? yes('ResolvedRefs') : no(refs)],
      ['Programmed', programmed],
      ['HostConflict', losesTo.length === 0 ? { ...yes('NoConflict'), status: 'False' } : loses(losesTo)],
    ],
    input,
  );
}

/** What an object says that is stored although it is not valid; `lastGood` is the status of what is in force of it. */
export function invalidStatus(
  { generation, key, kind, message }: InvalidObject,
  lastGood: ObjectStatus | undefined,
  input: DecideInput,
): ObjectStatus {
  const said = no({ reason: 'Invalid', message });
  const wrong: [ConditionType, Said][] = [
    ['Ready', said],
    ...(kind === 'Integration' ? [['Accepted', said] as [ConditionType, Said]] : []),
  ];
  const { conditions, observedGeneration } = statusOf(`${kind} ${key}`, generation, wrong, input);
  const types = new Set(conditions.map(({ type }) => type));
  const rest = (lastGood?.conditions ?? []).filter(({ type }) => !types.has(type));
  return {
    ...lastGood,
    ...(observedGeneration !== undefined && { observedGeneration }),
    conditions: [...conditions, ...rest],
  };
}

export function isReady(status: ObjectStatus): boolean {
  return status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True');
}

function statusOf(
  id: string,
  observedGeneration: number,
  said: readonly [ConditionType, Said][],
  { now, previous }: DecideInput,
): ObjectStatus {
  const before = previous.get(id)?.conditions ?? [];
  const conditions = said.map(([type, what]): Condition => {
    const last = before.find((condition) => condition.type === type);
    const lastTransitionTime =
      last?.status === what.status && last.lastTransitionTime !== undefined
        ? last.lastTransitionTime
        : now.toISOString();
    return { type, ...what, observedGeneration, lastTransitionTime };
  });
  return { observedGeneration, conditions };
}

/** A version that is too old or used up is in the store as it should be; it is only not leased any more. */
function leasable({ held, object }: CredentialVerdict, { now }: DecideInput): Said {
  const isOld = held?.expiresAt !== undefined && Date.parse(held.expiresAt) <= now.getTime();
  if (held === undefined || !(isOld || held.usedUp)) return yes('Ready');
  const { maxLifetime, maxUses, source } = object.value.spec;
  const { name, namespace } = object.value.metadata;
  const where = namespace === 'default' ? '' : ` --namespace ${namespace}`;
  const todo =
    source.secret !== undefined
      ? `change Secret ${source.secret.name}`
      : source.generated !== undefined
        ? 'set spec.source.generated.rotateEvery, or raise spec.maxUses'
        : `run: sidekey credential set ${name}${where}`;
  const ended = `and is not leased any more; give it a new value: ${todo}.`;
  if (isOld)
    return no({
      reason: 'MaterialExpired',
      message: `Version ${held.version} is older than spec.maxLifetime ${maxLifetime ?? ''} since ${held.expiresAt} ${ended}`,
    });
  return no({
    reason: 'UsesExhausted',
    message: `Version ${held.version} was leased as often as spec.maxUses ${maxUses ?? ''} allows ${ended}`,
  });
}

/** How far something that is desired has come. */
function progress(reason: 'Stored' | 'Programmed', done: boolean, id: string, input: DecideInput): Said {
  if (done) return yes(reason);
  if (input.storeAway !== undefined)
    return no({
      reason: 'StoreUnavailable',
      message: `The store cannot be reached (${input.storeAway}); it is tried again until it answers.`,
    });
  const failure = input.failures.get(id);
  if (failure !== undefined)
    return no({
      reason: 'StoreUnavailable',
      message: `The store did not take it (${failure.code}: ${failure.message}); it is tried again.`,
    });
  return { status: 'Unknown', reason: 'Pending', message: CONDITION_REASONS.Pending };
}

function first(violations: readonly Said[], steps: readonly Said[]): Said {
  return [...violations, ...steps].find(({ status }) => status !== 'True') ?? yes('Ready');
}

function loses(losesTo: readonly string[]): Said {
  const one = losesTo.length === 1;
  return {
    status: 'True',
    reason: 'OlderIntegrationWins',
    message: `Integration${one ? '' : 's'} ${losesTo.join(', ')} cover${one ? 's' : ''} the same host and win${one ? 's' : ''} where both would match; narrow hosts, paths or subjects.`,
  };
}

function yes(reason: ConditionReason): Said {
  return { status: 'True', reason, message: CONDITION_REASONS[reason] };
}

function no({ message, reason }: Violation): Said {
  return { status: 'False', reason, message };
}
