import type { Contender } from "../contender.ts"
import { aws } from "./aws.ts"

const contender: Contender = await aws("signed")
export default contender
