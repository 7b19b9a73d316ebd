(** The regret of a plan that is optimal for other data: corrected Theorem 4 and the separable bound, for any number of
    decisions; the bound over a box of weights by its ends, and branching. *)

From Coq Require Import Reals Lra Lia Psatz.
From Zetaplan Require Import Sums Separable.
Open Scope R_scope.

(** ** The variational inequality of a minimum over a convex set *)

Lemma first_order_on_a_line (h : R -> R) s :
  derivable_pt_lim h 0 s -> (forall t, 0 <= t <= 1 -> h 0 <= h t) -> 0 <= s.
Proof.
  intros D M. destruct (Rle_lt_dec 0 s) as [L|L]; [exact L|exfalso].
  destruct (D (- s) ltac:(lra)) as [[d Pd] H]. cbn in H.
  set (t := Rmin (d / 2) 1). assert (T : 0 < t) by (unfold t; apply Rmin_glb_lt; lra).
  assert (T1 : t <= 1) by apply Rmin_r. assert (Td : t <= d / 2) by apply Rmin_l.
  specialize (H t ltac:(lra)). rewrite (Rabs_right t) in H by lra. specialize (H ltac:(lra)).
  rewrite Rplus_0_l in H. specialize (M t ltac:(lra)). apply Rabs_def2 in H as [H _].
  assert (0 <= (h t - h 0) / t) by (apply Rmult_le_pos; [lra|left; now apply Rinv_0_lt_compat]). lra.
Qed.

Definition toward (x y : plan) (t : R) : plan := fun k => x k + t * (y k - x k).

Definition inner (K : nat) (a b : plan) : R := sum K (fun k => a k * b k).

Definition variational (K : nat) (C : plan -> Prop) (gradient : plan) (x : plan) : Prop :=
  forall y, C y -> 0 <= inner K gradient (fun k => y k - x k).

(** A minimiser over a convex set fulfils the variational inequality, wherever it lies. *)
Theorem first_order K (C : plan -> Prop) (F : plan -> R) (gradient x : plan) :
  (forall y t, C y -> 0 <= t <= 1 -> C (toward x y t)) ->
  (forall y, C y -> derivable_pt_lim (fun t => F (toward x y t)) 0 (inner K gradient (fun k => y k - x k))) ->
  (forall y, C y -> F (toward x x 0) <= F y) -> (forall y, C y -> F (toward x y 0) = F (toward x x 0)) ->
  variational K C gradient x.
Proof.
  intros convex D M E y Y. apply (first_order_on_a_line (fun t => F (toward x y t))); [now apply D|].
  intros t T. rewrite (E y Y). apply M. now apply convex.
Qed.

(** ** Theorem 4, corrected: neither smoothness nor a condition number *)

Definition strongly_convex (K : nat) (C : plan -> Prop) (F : plan -> R) (gradient : plan -> plan) (mu : R) : Prop :=
  forall u v, C u -> C v ->
  F u + inner K (gradient u) (fun k => v k - u k) + mu / 2 * sum K (fun k => (v k - u k) ^ 2) <= F v.

Theorem between K C F gradient mu x y : strongly_convex K C F gradient mu -> C x -> C y ->
  F x - F y <= inner K (gradient x) (fun k => x k - y k) - mu / 2 * sum K (fun k => (x k - y k) ^ 2).
Proof.
  intros strong X Y. pose proof (strong x y X Y) as H. unfold inner in *.
  assert (E : sum K (fun k => gradient x k * (x k - y k)) = - sum K (fun k => gradient x k * (y k - x k))).
  { replace (- sum K (fun k => gradient x k * (y k - x k))) with (-1 * sum K (fun k => gradient x k * (y k - x k)))
      by ring. rewrite <- sum_scaled. apply sum_ext. intros k _. ring. }
  assert (Q : sum K (fun k => (x k - y k) ^ 2) = sum K (fun k => (y k - x k) ^ 2)).
  { apply sum_ext. intros k _. ring. }
  rewrite E, Q. lra.
Qed.

Lemma square_completed e d mu : 0 < mu -> e * d - mu / 2 * d ^ 2 <= e ^ 2 / (2 * mu).
Proof.
  intro P. assert (H : 0 <= (e - mu * d) ^ 2 / (2 * mu)).
  { apply Rmult_le_pos; [apply pow2_ge_0|]. left. apply Rinv_0_lt_compat. lra. }
  replace (e ^ 2 / (2 * mu)) with ((e - mu * d) ^ 2 / (2 * mu) + (e * d - mu / 2 * d ^ 2)) by (field; lra). lra.
Qed.

Theorem theorem_4 K C F_T gradient_T gradient_S x_S x_T mu bound :
  0 < mu -> strongly_convex K C F_T gradient_T mu -> C x_S -> C x_T -> variational K C gradient_S x_S ->
  sum K (fun k => (gradient_T x_S k - gradient_S k) ^ 2) <= bound ^ 2 ->
  F_T x_S - F_T x_T <= bound ^ 2 / (2 * mu).
Proof.
  intros P strong S T V B. pose proof (strong x_S x_T S T) as H. pose proof (V x_T T) as V0.
  set (e := fun k => gradient_S k - gradient_T x_S k). set (d := fun k => x_T k - x_S k).
  assert (E : inner K gradient_S d - inner K (gradient_T x_S) d - mu / 2 * sum K (fun k => d k ^ 2)
    <= sum K (fun k => e k ^ 2 / (2 * mu))).
  { unfold inner. rewrite <- sum_minus, <- sum_scaled, <- sum_minus. apply sum_le. intros k _.
    pose proof (square_completed (e k) (d k) mu P). unfold e, d in *. lra. }
  assert (Q : sum K (fun k => e k ^ 2 / (2 * mu)) <= bound ^ 2 / (2 * mu)).
  { rewrite (sum_ext K _ (fun k => / (2 * mu) * (gradient_T x_S k - gradient_S k) ^ 2)).
    - rewrite sum_scaled. unfold Rdiv. rewrite (Rmult_comm (bound ^ 2)). apply Rmult_le_compat_l; [|exact B].
      left. apply Rinv_0_lt_compat. lra.
    - intros k _. unfold e, Rdiv. ring. }
  unfold d in *. lra.
Qed.

(** ** The separable bound: one constant for every decision *)

Theorem summed K f_T slope_T (inside : nat -> R -> Prop) (x_S x_T mu : plan) :
  strongly K f_T slope_T inside mu -> in_box K inside x_S -> in_box K inside x_T ->
  objective K f_T x_S - objective K f_T x_T <=
    sum K (fun k => slope_T k (x_S k) * (x_S k - x_T k) - mu k / 2 * (x_S k - x_T k) ^ 2).
Proof.
  intros strong S T. unfold objective. rewrite <- sum_minus. apply sum_le. intros k N.
  pose proof (strong k _ _ N (S k N) (T k N)). lra.
Qed.

Theorem separable_bound K f_T slope_T slope_S (inside : nat -> R -> Prop) (x_S x_T e mu : plan) :
  strongly K f_T slope_T inside mu -> in_box K inside x_S -> in_box K inside x_T ->
  0 <= sum K (fun k => slope_S k * (x_T k - x_S k)) ->
  (forall k, (k < K)%nat -> Rabs (slope_T k (x_S k) - slope_S k) <= e k) ->
  (forall k, (k < K)%nat -> 0 < mu k \/ (mu k = 0 /\ e k = 0)) ->
  objective K f_T x_S - objective K f_T x_T <= sum K (fun k => e k ^ 2 / (2 * mu k)).
Proof.
  intros strong S T V D M. unfold objective.
  enough (sum K (fun k => f_T k (x_S k)) - sum K (fun k => f_T k (x_T k))
    + sum K (fun k => slope_S k * (x_T k - x_S k)) <= sum K (fun k => e k ^ 2 / (2 * mu k))) by lra.
  rewrite <- sum_minus, <- sum_plus. apply sum_le. intros k N.
  pose proof (strong k _ _ N (S k N) (T k N)) as H. specialize (D k N).
  set (d := x_T k - x_S k) in *. set (s := slope_T k (x_S k) - slope_S k) in *.
  assert (A : - (s * d) <= e k * Rabs d).
  { pose proof (Rle_abs (- (s * d))) as A. rewrite Rabs_Ropp, Rabs_mult in A.
    pose proof (Rabs_pos d). nra. }
  assert (Q : Rabs d ^ 2 = d ^ 2) by apply pow2_abs.
  destruct (M k N) as [P|[Z0 Z1]].
  - pose proof (square_completed (e k) (Rabs d) (mu k) P) as C. rewrite Q in C. unfold s in A. lra.
  - rewrite Z0, Z1 in *. unfold s, Rdiv in *. lra.
Qed.

(** ** Weights in a box: the ends decide *)

(** [f k w y] is the loss of layer k at weight w, affine in w; [low k e] is at most f k e y + nu c_k y for all y. *)
Definition affine (h : R -> R) : Prop := forall a b t, h (t * a + (1 - t) * b) = t * h a + (1 - t) * h b.

(** [low] is the least value over y of functions that are affine in the weight: concave. *)
Theorem minimum_concave (f : R -> R -> R) (inside : R -> Prop) (low : R -> R) :
  (forall y, inside y -> affine (fun w => f w y)) -> (forall w y, inside y -> low w <= f w y) ->
  (forall w b, (forall y, inside y -> b <= f w y) -> b <= low w) ->
  forall a b t, 0 <= t <= 1 -> t * low a + (1 - t) * low b <= low (t * a + (1 - t) * b).
Proof.
  intros A L G a b t T. apply G. intros y Y. rewrite (A y Y a b t).
  pose proof (L a y Y). pose proof (L b y Y). nra.
Qed.

Theorem dual_ends K (f : nat -> R -> R -> R) (c : nat -> R) limit nu (inside : nat -> R -> Prop)
  (low : nat -> R -> R) (x w down up : plan) y :
  0 <= nu -> feasible K c limit inside y ->
  (forall k z, (k < K)%nat -> affine (fun v => f k v z)) ->
  (forall k v z, (k < K)%nat -> v = down k \/ v = up k -> inside k z -> low k v <= f k v z + nu * (c k * z)) ->
  (forall k, (k < K)%nat -> down k <= w k <= up k) ->
  sum K (fun k => f k (w k) (x k)) - sum K (fun k => f k (w k) (y k)) <=
    sum K (fun k => Rmax (f k (down k) (x k) - low k (down k)) (f k (up k) (x k) - low k (up k))) + nu * limit.
Proof.
  intros P [Y U] A L W. unfold use in U.
  assert (H : sum K (fun k => f k (w k) (x k)) - sum K (fun k => f k (w k) (y k)) - nu * sum K (fun k => c k * y k)
    <= sum K (fun k => Rmax (f k (down k) (x k) - low k (down k)) (f k (up k) (x k) - low k (up k)))).
  { rewrite <- sum_scaled, <- !sum_minus. apply sum_le. intros k N.
    pose proof (L k (down k) (y k) N (or_introl eq_refl) (Y k N)) as Ld.
    pose proof (L k (up k) (y k) N (or_intror eq_refl) (Y k N)) as Lu.
    pose proof (Rmax_l (f k (down k) (x k) - low k (down k)) (f k (up k) (x k) - low k (up k))) as Md.
    pose proof (Rmax_r (f k (down k) (x k) - low k (down k)) (f k (up k) (x k) - low k (up k))) as Mu.
    set (most := Rmax _ _) in *. destruct (W k N) as [W1 W2].
    assert (E : exists t, 0 <= t <= 1 /\ w k = t * down k + (1 - t) * up k).
    { destruct (Req_dec (down k) (up k)) as [E|E]; [exists 1; lra|].
      exists ((up k - w k) / (up k - down k)). split; [|field; lra].
      assert (0 < / (up k - down k)) by (apply Rinv_0_lt_compat; lra).
      split; [apply Rmult_le_pos; lra|]. apply (Rmult_le_reg_r (up k - down k)); [lra|].
      unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra. }
    destruct E as [t [T E]]. rewrite E, (A k (x k) N), (A k (y k) N). nra. }
  nra.
Qed.

(** ** Branching: one weight is held at either end *)

Definition held (v : plan) (j : nat) (a : R) : plan := fun k => if Nat.eqb k j then a else v k.
Definition within (K : nat) (down up w : plan) : Prop := forall k, (k < K)%nat -> down k <= w k <= up k.

(** Along every weight, the value between two points is at most the larger of the two. *)
Definition ends_decide (phi : plan -> R) : Prop :=
  forall w j a b, a <= w j <= b -> phi w <= Rmax (phi (held w j a)) (phi (held w j b)).

Inductive branches (P : plan -> plan -> Prop) : plan -> plan -> Prop :=
| leaf down up : P down up -> branches P down up
| split down up j : branches P down (held up j (down j)) -> branches P (held down j (up j)) up ->
    branches P down up.

Theorem branching K phi bound down up : ends_decide phi ->
  branches (fun d u => forall w, within K d u w -> phi w <= bound) down up ->
  forall w, within K down up w -> (forall j, (K <= j)%nat -> down j <= w j <= up j) -> phi w <= bound.
Proof.
  intros convex tree. induction tree as [d u H|d u j _ IH1 _ IH2]; intros w W rest; [auto|].
  assert (all : forall k, d k <= w k <= u k).
  { intro k. destruct (Nat.lt_ge_cases k K); auto. }
  eapply Rle_trans; [apply (convex w j (d j) (u j)); auto|].
  apply Rmax_lub; [apply IH1|apply IH2]; intros k _; unfold held; pose proof (all j); pose proof (all k);
    destruct (Nat.eqb_spec k j) as [->|_]; lra.
Qed.

(** Functions that are convex along every weight. *)
Theorem convex_ends_decide (phi : plan -> R) :
  (forall w j a b t, 0 <= t <= 1 ->
     phi (held w j (t * a + (1 - t) * b)) <= t * phi (held w j a) + (1 - t) * phi (held w j b)) ->
  (forall w j, phi (held w j (w j)) = phi w) -> ends_decide phi.
Proof.
  intros convex same w j a b [A B].
  assert (E : exists t, 0 <= t <= 1 /\ w j = t * a + (1 - t) * b).
  { destruct (Req_dec a b) as [E|E]; [exists 1; lra|].
    exists ((b - w j) / (b - a)). split; [|field; lra].
    assert (0 < / (b - a)) by (apply Rinv_0_lt_compat; lra).
    split; [apply Rmult_le_pos; lra|]. apply (Rmult_le_reg_r (b - a)); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra. }
  destruct E as [t [T E]]. rewrite <- (same w j) at 1. rewrite E at 1.
  pose proof (convex w j a b t T). pose proof (Rmax_l (phi (held w j a)) (phi (held w j b))).
  pose proof (Rmax_r (phi (held w j a)) (phi (held w j b))). nra.
Qed.
