(** The checker as OCaml. Whole numbers become those of Zarith (GMP), which is trusted, as is the extraction. *)

From Coq Require Import ZArith Extraction ExtrOcamlBasic ExtrOcamlString ExtrOcamlZBigInt.
From Zetaplan Require Import Json Files.

Extract Constant Z.leb => "Big_int_Z.le_big_int".
Extract Constant Z.ltb => "Big_int_Z.lt_big_int".
Extract Constant Z.gcd => "Big_int_Z.gcd_big_int".
Extract Constant Z.log2 =>
  "(fun x -> Big_int_Z.big_int_of_int (Stdlib.max 0 (Stdlib.pred (Z.numbits x))))".
Extract Constant Pos.eqb => "Big_int_Z.eq_big_int".
Extract Constant Pos.ltb => "Big_int_Z.lt_big_int".

Extraction "proved.ml" Files.check.
