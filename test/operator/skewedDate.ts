/** Preloaded into a process (`node --import`): its wall clock is then off by what the query of its URL says, such as `?aheadMs=-300000`. */
const RealDate = Date;
const aheadMs = Number(new URL(import.meta.url).searchParams.get('aheadMs'));

globalThis.Date = class SkewedDate extends RealDate {
  constructor(...args: [] | [number]) {
    super(...((args.length === 0 ? [RealDate.now() + aheadMs] : args) as [number]));
  }

  static override now(): number {
    return RealDate.now() + aheadMs;
  }
} as DateConstructor;
