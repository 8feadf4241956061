import { hostWithin } from '../../api/host.ts';
import { METHODS, type Rule, type Subjects } from '../../api/integration.ts';

/** Whether some session can be a subject of both. Sessions have one role and one ServiceAccount, but any number of tags. */
export function subjectsOverlap(a: Subjects, b: Subjects): boolean {
  return listsMeet(a.roles, b.roles) && listsMeet(a.serviceAccounts, b.serviceAccounts);
}

/** A host pattern of `a` that shares an authority with one of `b`: the narrower of the two. */
export function sharedHost(a: readonly string[], b: readonly string[]): string | undefined {
  for (const one of a) {
    for (const other of b) {
      if (hostWithin(one, other)) return one;
      if (hostWithin(other, one)) return other;
    }
  }
  return undefined;
}

/** Whether a request can be equally specific under both, so that only age decides (DESIGN.md, rule 14). */
export function rulesTie(a: readonly Rule[], b: readonly Rule[]): boolean {
  const others = claims(b);
  return claims(a).some((claim) =>
    others.some((other) => claim.path === other.path && claim.methods.some((method) => other.methods.includes(method))),
  );
}

/** What an Integration claims: a path of its Allow rules (`''`: any) for some methods. */
function claims(rules: readonly Rule[]): { path: string; methods: readonly string[] }[] {
  const allowed = rules.filter(({ action }) => action === 'Allow');
  if (allowed.length === 0) return [{ path: '', methods: METHODS }];
  return allowed.flatMap(({ methods = METHODS, paths }) =>
    paths === undefined ? [{ path: '', methods }] : paths.map(({ value }) => ({ path: value, methods })),
  );
}

function listsMeet(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === undefined || b === undefined || a.some((item) => b.includes(item));
}
