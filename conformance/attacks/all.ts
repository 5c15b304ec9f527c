import type { Attack } from './attack.ts'
import { DOWNGRADES } from './downgrades.ts'
import { EAVESDROPPING } from './eavesdropping.ts'
import { FLOODS } from './floods.ts'
import { HONEST } from './honest.ts'
import { IMPOSTORS } from './impostors.ts'
import { NETWORKS } from './networks.ts'
import { POINTS } from './points.ts'
import { REPLAYS } from './replays.ts'
import { TAMPERING } from './tampering.ts'

/** In the order of the table. */
export const ATTACKS: readonly Attack[] = [
  ...HONEST,
  ...IMPOSTORS,
  ...REPLAYS,
  ...DOWNGRADES,
  ...POINTS,
  ...TAMPERING,
  ...FLOODS,
  ...NETWORKS,
  ...EAVESDROPPING,
]
