import { expect, test } from 'vitest';
import { NO_SEAT, Roster } from './roster.ts';

function members(count: number) {
  return Array.from({ length: count }, (_, name) => ({ name, seat: NO_SEAT }));
}

function namesIn(roster: Roster<{ name: number; seat: number }>): number[] {
  const names: number[] = [];
  roster.visit(({ name }) => names.push(name));
  return names.sort();
}

test('holds what was added and not removed, whatever the order', () => {
  const roster = new Roster<{ name: number; seat: number }>();
  const all = members(5);
  for (const member of all) roster.add(member);
  expect([all[1]!, all[4]!, all[0]!].map((member) => roster.delete(member))).toEqual([true, true, true]);
  expect(namesIn(roster)).toEqual([2, 3]);
  roster.add(all[1]!);
  expect(namesIn(roster)).toEqual([1, 2, 3]);
  expect(roster.size).toBe(3);
});

test('takes a member once, and lets it go once', () => {
  const roster = new Roster<{ name: number; seat: number }>();
  const [one, other] = members(2);
  roster.add(one!);
  roster.add(one!);
  expect(roster.size).toBe(1);
  expect([roster.delete(other!), roster.delete(one!), roster.delete(one!)]).toEqual([false, true, false]);
  expect(roster.size).toBe(0);
});

test('visits each member although visiting removes some', () => {
  const roster = new Roster<{ name: number; seat: number }>();
  const all = members(6);
  for (const member of all) roster.add(member);
  const visited: number[] = [];
  roster.visit((member) => {
    visited.push(member.name);
    roster.delete(all[(member.name + 1) % all.length]!);
  });
  expect(visited).toEqual([0, 2, 4]);
  expect(namesIn(roster)).toEqual([0, 2, 4]);
});
