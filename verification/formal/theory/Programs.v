(** The three programs whose optima are fractions, layer by layer: objective, slope, and the optimum of a layer. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Tangents.
Open Scope R_scope.

Inductive program := Allocation | Pruning | Barrier.

(** A budget has the sign 1, a target the sign -1. *)
Definition sign (p : program) : R := match p with Allocation => 1 | _ => -1 end.

(** The objective of a layer of weight w and unit cost a, with strength s and declared price d, and its slope. *)
Definition value (p : program) (s d w a : R) : R -> R :=
  match p with
  | Allocation => log_objective (s * w) (d * a)
  | Pruning => square_objective (s * w) (d * a)
  | Barrier => barrier_objective (s * w) (d * a)
  end.

(** The slope without the declared price. *)
Definition steepness (p : program) (s w x : R) : R :=
  match p with
  | Allocation => - (s * w) / (1 + x)
  | Pruning => 2 * (s * w) * x
  | Barrier => s * w / (1 - x)
  end.

Definition slope (p : program) (s d w a : R) (x : R) : R := steepness p s w x + d * (sign p * a).

(** The values at which the objective is defined and convex. *)
Definition domain (p : program) (x : R) : Prop :=
  match p with Allocation => 0 <= x | Pruning => True | Barrier => x < 1 end.

Theorem value_tangent p s d w a u v : 0 <= s * w -> domain p u -> domain p v ->
  value p s d w a u + slope p s d w a u * (v - u) <= value p s d w a v.
Proof.
  intros P U V. destruct p; cbn in *.
  - pose proof (log_tangent (s * w) (d * a) u v P U V) as T. unfold slope, steepness, sign, log_slope in *. lra.
  - pose proof (square_tangent (s * w) (d * a) u v) as T. unfold slope, steepness, sign, square_slope in *.
    pose proof (pow2_ge_0 (v - u)). nra.
  - pose proof (barrier_tangent (s * w) (d * a) u v P U V) as T. unfold slope, steepness, sign, barrier_slope in *. lra.
Qed.

Theorem value_tangent_strictly p s d w a u v : 0 < s * w -> domain p u -> domain p v -> u <> v ->
  value p s d w a u + slope p s d w a u * (v - u) < value p s d w a v.
Proof.
  intros P U V N. destruct p; cbn in *.
  - pose proof (log_tangent_strictly (s * w) (d * a) u v P U V N) as T. unfold slope, steepness, sign, log_slope in *. lra.
  - pose proof (square_tangent (s * w) (d * a) u v) as T. unfold slope, steepness, sign, square_slope in *.
    assert (D : v - u <> 0) by lra. assert (0 < (v - u) ^ 2) by (apply Rsqr_pos_lt in D as D2; unfold Rsqr in D2; lra). nra.
  - pose proof (barrier_tangent_strictly (s * w) (d * a) u v P U V N) as T.
    unfold slope, steepness, sign, barrier_slope in *. lra.
Qed.

(** The optimum of a layer inside its box is a line in [q], the total price or its inverse, over the unit cost. *)
Definition rise (p : program) (s w a : R) : R :=
  match p with Allocation => s * w | Pruning => a * a / (2 * (s * w)) | Barrier => - (s * w) end.

Definition offset (p : program) (a : R) : R := match p with Allocation => - a | Pruning => 0 | Barrier => a end.

Definition power (p : program) (price : R) : R := match p with Pruning => price | _ => / price end.

Definition root (p : program) (s w a price : R) : R := (rise p s w a * power p price + offset p a) / a.

Theorem root_stationary p s d w a price : 0 < s * w -> 0 < a -> 0 < price -> price <> 0 ->
  slope p s d w a (root p s w a price) + (price - d) * (sign p * a) = 0.
Proof.
  intros P A Q N. assert (a <> 0) by lra. assert (s <> 0) by (intros ->; lra). assert (w <> 0) by (intros ->; lra).
  assert (E : steepness p s w (root p s w a price) + price * (sign p * a) = 0).
  { destruct p; unfold steepness, root, rise, power, offset, sign.
    - replace (1 + (s * w * / price + - a) / a) with (s * w / (price * a)) by (field; auto). field. auto.
    - field. auto.
    - replace (1 - (- (s * w) * / price + a) / a) with (s * w / (price * a)) by (field; auto). field. auto. }
  unfold slope. lra.
Qed.

(** Between two ends a line is nowhere farther from 0 than at one of them. *)
Lemma line_between b c u lo hi : Rmin lo hi <= u <= Rmax lo hi ->
  Rabs (b + c * u) <= Rmax (Rabs (b + c * lo)) (Rabs (b + c * hi)).
Proof.
  assert (ordered : forall lo hi, lo <= u <= hi ->
    Rabs (b + c * u) <= Rmax (Rabs (b + c * lo)) (Rabs (b + c * hi))).
  { clear lo hi. intros lo hi [A B]. pose proof (Rmax_l (Rabs (b + c * lo)) (Rabs (b + c * hi))) as L.
    pose proof (Rmax_r (Rabs (b + c * lo)) (Rabs (b + c * hi))) as H. set (m := Rmax _ _) in *.
    assert (- m <= b + c * lo <= m) by (split; [|exact (Rle_trans _ _ _ (Rle_abs _) L)];
      pose proof (Rle_abs (- (b + c * lo))) as X; rewrite Rabs_Ropp in X; lra).
    assert (- m <= b + c * hi <= m) by (split; [|exact (Rle_trans _ _ _ (Rle_abs _) H)];
      pose proof (Rle_abs (- (b + c * hi))) as X; rewrite Rabs_Ropp in X; lra).
    apply Rabs_le. destruct (Rle_lt_dec 0 c); split; nra. }
  intro H. destruct (Rle_lt_dec lo hi).
  - rewrite Rmin_left, Rmax_right in H by lra. now apply ordered.
  - rewrite Rmin_right, Rmax_left in H by lra. rewrite Rmax_comm. now apply ordered.
Qed.
