import { LabelName, WordName } from '../api/metadata.ts';
import { subjectsMatch } from '../api/subjectsMatch.ts';
import { type IntegrationObject, namespaceOf, type Subject } from '../store/grants.ts';

import { usageError } from './errors.ts';

export type { Subject };

/** @throws Usage that names the option */
export function checkSubject(subject: Subject): Subject {
  const words = [...subject.tags.map((tag) => ['--tag', tag]), ['--role', subject.role]];
  for (const [option, word] of words) {
    if (word !== undefined && !WordName.safeParse(word).success)
      throw usageError(
        `${option} ${word} is not valid`,
        'it has letters, digits, dashes, dots and underscores, at most 63',
      );
  }
  if (!LabelName.safeParse(subject.namespace).success)
    throw usageError(`--namespace ${subject.namespace} is not valid`, 'it has lower-case letters, digits and dashes');
  return subject;
}

/** `role researcher, tags llm, web` */
export function subjectText({ role, tags, serviceAccount, namespace }: Subject): string {
  const parts = [
    ...(role === undefined ? [] : [`role ${role}`]),
    ...(tags.length === 0 ? [] : [`${tags.length === 1 ? 'tag' : 'tags'} ${tags.join(', ')}`]),
  ];
  if (parts.length === 0) parts.push('no role and no tags');
  if (serviceAccount !== 'default') parts.push(`service account ${serviceAccount}`);
  if (namespace !== 'default') parts.push(`namespace ${namespace}`);
  return parts.join(', ');
}

/** What to pass so that integrations of the folder match: `openai is for tag llm: pass --tag llm`. */
export function subjectHints(
  objects: { integrations: readonly IntegrationObject[]; notInForce: readonly string[] },
  subject: Subject,
): string[] {
  const missed = objects.integrations.filter(
    ({ key, record }) => namespaceOf(key) !== subject.namespace || !subjectsMatch(record.subjects, subject),
  );
  const hints = missed.map(({ key, record }) => {
    const { tags, roles, serviceAccounts } = record.subjects;
    const namespace = namespaceOf(key);
    const flags = [
      ...(tags === undefined ? [] : [`--tag ${tags[0]}`]),
      ...(roles === undefined ? [] : [`--role ${roles[0]}`]),
      ...(serviceAccounts === undefined || serviceAccounts.includes(subject.serviceAccount)
        ? []
        : [`--service-account ${serviceAccounts[0]}`]),
      ...(namespace === subject.namespace ? [] : [`--namespace ${namespace}`]),
    ];
    return `Integration ${key} would match with ${flags.join(' ')}`;
  });
  return [...hints, ...objects.notInForce].slice(0, HINTS_SHOWN);
}

const HINTS_SHOWN = 5;
