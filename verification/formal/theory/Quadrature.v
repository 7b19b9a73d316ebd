(** Gauss rules, for a measure on finitely many points: what their exactness implies, and that Lanczos gives it. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

(** [below d f]: f is a polynomial of fewer than d + 1 coefficients, of degree less than d. *)
Fixpoint below (d : nat) (f : R -> R) : Prop :=
  match d with
  | O => forall x, f x = 0
  | S d => exists a g, below d g /\ forall x, f x = a + x * g x
  end.

Lemma below_plus d : forall f g, below d f -> below d g -> below d (fun x => f x + g x).
Proof.
  induction d as [|d IH]; cbn; intros f g F G.
  - intro x. rewrite F, G. ring.
  - destruct F as (a & f' & F & Ef), G as (b & g' & G & Eg).
    exists (a + b), (fun x => f' x + g' x). split; [apply IH; assumption|]. intro x. rewrite Ef, Eg. ring.
Qed.

Lemma below_scaled d c : forall f, below d f -> below d (fun x => c * f x).
Proof.
  induction d as [|d IH]; cbn; intros f F.
  - intro x. rewrite F. ring.
  - destruct F as (a & f' & F & E). exists (c * a), (fun x => c * f' x). split; [apply IH; assumption|].
    intro x. rewrite E. ring.
Qed.

Lemma below_more d : forall f, below d f -> below (S d) f.
Proof.
  induction d as [|d IH]; intros f F.
  - exists 0, (fun _ => 0). split; [intro; reflexivity|]. intro x. cbn in F. rewrite F. ring.
  - destruct F as (a & f' & F & E). exists a, f'. split; [apply IH; assumption|exact E].
Qed.

Lemma below_line d a f : below d f -> below (S d) (fun x => a + x * f x).
Proof. intro F. exists a, f. split; [exact F|reflexivity]. Qed.

(** The product of the factors 1 - x r i. *)
Fixpoint factors (n : nat) (r : nat -> R) (x : R) : R :=
  match n with
  | O => 1
  | S n => factors n r x * (1 - x * r n)
  end.

Lemma one_factor d q r : below d q -> exists q', below (S d) q' /\
  forall x, (1 - x * q x) * (1 - x * r) = 1 - x * q' x.
Proof.
  intro Q. exists (fun x => (r + x * (- r * q x)) + q x). split.
  - apply (below_plus (S d) (fun x => r + x * (- r * q x)) q); [|apply below_more; exact Q].
    apply (below_line d r (fun x => - r * q x)), below_scaled. exact Q.
  - intro x. ring.
Qed.

Lemma more_factors n r : forall d q, below d q -> exists q', below (n + d) q' /\
  forall x, (1 - x * q x) * factors n r x = 1 - x * q' x.
Proof.
  induction n as [|n IH]; intros d q Q.
  - exists q. split; [exact Q|]. intro x. cbn. ring.
  - destruct (IH d q Q) as (p & P & E). destruct (one_factor (n + d) p (r n) P) as (q' & Q' & E').
    exists q'. split; [exact Q'|]. intro x. cbn [factors]. rewrite <- E', <- E. ring.
Qed.

(** 1 minus the square of the product is x times a polynomial of degree 2n - 1. *)
Lemma square_quotient n r : exists q, below (n + n) q /\ forall x, factors n r x ^ 2 = 1 - x * q x.
Proof.
  destruct (more_factors n r 0 (fun _ => 0)) as (p & P & E); [intro; reflexivity|].
  rewrite Nat.add_0_r in P. destruct (more_factors n r n p P) as (q & Q & E'). exists q. split; [exact Q|].
  intro x. rewrite <- E', <- E. ring.
Qed.

Lemma factor_zero n r i x : (i < n)%nat -> x * r i = 1 -> factors n r x = 0.
Proof.
  induction n as [|n IH]; intros L E; [lia|]. cbn [factors].
  destruct (Nat.eq_dec i n) as [->|D]; [rewrite E; ring|]. rewrite IH; [ring|lia|exact E].
Qed.

(** A measure on N points, or a rule of N nodes: weights m at the points x. *)
Definition integral (N : nat) (x m : nat -> R) (f : R -> R) : R := sum N (fun j => m j * f (x j)).

Section Rule.

Variables N n : nat.
Variables x m t v : nat -> R.

Definition exact (d : nat) : Prop := forall f, below d f -> integral N x m f = integral n t v f.

Hypothesis points : forall j, (j < N)%nat -> 0 < x j.
Hypothesis masses : forall j, (j < N)%nat -> 0 <= m j.
Hypothesis nodes : forall i, (i < n)%nat -> t i <> 0.

Lemma quotient_at q r y : y <> 0 -> 1 - y * q y = r -> q y = / y - r / y.
Proof. intros Y E. rewrite <- E. field. exact Y. Qed.

Lemma missed q (z : R -> R) d : below d q -> exact d -> (forall y, z y = 1 - y * q y) ->
  (forall i, (i < n)%nat -> z (t i) = 0) ->
  integral N x m Rinv - integral n t v Rinv = sum N (fun j => m j * (z (x j) / x j)).
Proof.
  intros Q E Z V. pose proof (E q Q) as H. unfold integral in *.
  rewrite (sum_ext N _ (fun j => m j * / x j - m j * (z (x j) / x j))) in H.
  - rewrite sum_minus in H. rewrite (sum_ext n _ (fun i => v i * / t i)) in H; [lra|].
    intros i I. f_equal. rewrite (quotient_at q 0); [unfold Rdiv; ring|auto|]. rewrite <- Z. auto.
  - intros j J. rewrite (quotient_at q (z (x j)) (x j)); [ring| |symmetry; apply Z].
    specialize (points j J). lra.
Qed.

(** What an n-point Gauss rule misses of the integral of 1 / x. *)
Theorem gauss_missed : exact (n + n) -> integral N x m Rinv - integral n t v Rinv =
  sum N (fun j => m j * (factors n (fun i => / t i) (x j) ^ 2 / x j)).
Proof.
  intro E. destruct (square_quotient n (fun i => / t i)) as (q & Q & S0).
  apply (missed q (fun y => factors n (fun i => / t i) y ^ 2) (n + n)); [exact Q|exact E|exact S0|].
  intros i I. rewrite (factor_zero n _ i); [ring|exact I|]. apply Rinv_r. auto.
Qed.

Theorem gauss_below : exact (n + n) -> integral n t v Rinv <= integral N x m Rinv.
Proof.
  intro E. pose proof (gauss_missed E) as H. enough (0 <= sum N (fun j =>
    m j * (factors n (fun i => / t i) (x j) ^ 2 / x j))) by lra.
  apply sum_nonneg. intros j J. apply Rmult_le_pos; [auto|]. apply Rmult_le_pos; [apply pow2_ge_0|].
  left. apply Rinv_0_lt_compat. auto.
Qed.

End Rule.

(** With one more node, at or below all points, the rule of Gauss and Radau is exact for one degree more. *)
Theorem radau_above N n x m t v : (forall j, (j < N)%nat -> 0 < x j) -> (forall j, (j < N)%nat -> 0 <= m j) ->
  (forall i, (i < S n)%nat -> t i <> 0) -> 0 < t n -> (forall j, (j < N)%nat -> t n <= x j) ->
  exact N (S n) x m t v (S (n + n)) -> integral N x m Rinv <= integral (S n) t v Rinv.
Proof.
  intros P M T A L E. destruct (square_quotient n (fun i => / t i)) as (q & Q & S0).
  destruct (one_factor (n + n) q (/ t n) Q) as (q' & Q' & E').
  set (z := fun y => factors n (fun i => / t i) y ^ 2 * (1 - y * / t n)).
  assert (H : integral N x m Rinv - integral (S n) t v Rinv = sum N (fun j => m j * (z (x j) / x j))).
  { apply (missed N (S n) x m t v P T q' z (S (n + n)) Q' E).
    - intro y. unfold z. rewrite S0. apply E'.
    - intros i I. unfold z. destruct (Nat.eq_dec i n) as [->|D].
      + rewrite Rinv_r by auto. ring.
      + rewrite (factor_zero n _ i); [ring|lia|]. apply Rinv_r. auto. }
  enough (0 <= sum N (fun j => - (m j * (z (x j) / x j)))) as G.
  { rewrite (sum_ext N _ (fun j => (-1) * (m j * (z (x j) / x j)))) in G by (intros; ring).
    rewrite sum_scaled in G. lra. }
  apply sum_nonneg. intros j J. specialize (P j J). specialize (M j J). specialize (L j J).
  assert (0 <= x j * / t n - 1).
  { assert (t n * / t n = 1) by (apply Rinv_r; lra). assert (0 < / t n) by (apply Rinv_0_lt_compat; exact A). nra. }
  replace (- (m j * (z (x j) / x j))) with
    (m j * (factors n (fun i => / t i) (x j) ^ 2 * (x j * / t n - 1)) * / x j) by (unfold z, Rdiv; ring).
  apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat; exact P].
  apply Rmult_le_pos; [exact M|]. apply Rmult_le_pos; [apply pow2_ge_0|assumption].
Qed.

(** A rule that has the moments up to d is exact for polynomials of degree less than d. *)
Theorem exact_by_moments N n x m t v d :
  (forall k, (k < d)%nat -> integral N x m (fun y => y ^ k) = integral n t v (fun y => y ^ k)) -> exact N n x m t v d.
Proof.
  intros H f F. assert (G : forall e s h, below e h -> (s + e <= d)%nat ->
    integral N x m (fun y => y ^ s * h y) = integral n t v (fun y => y ^ s * h y)).
  { unfold integral in *. induction e as [|e IH]; intros s h B L.
    - cbn in B. rewrite (sum_ext N _ (fun _ => 0)), (sum_ext n _ (fun _ => 0)) by (intros; rewrite B; ring).
      now rewrite !sum_zero.
    - destruct B as (a & g & B & E).
      rewrite (sum_ext N _ (fun j => a * (m j * x j ^ s) + m j * (x j ^ S s * g (x j))))
        by (intros; rewrite E; cbn [pow]; ring).
      rewrite (sum_ext n _ (fun j => a * (v j * t j ^ s) + v j * (t j ^ S s * g (t j))))
        by (intros; rewrite E; cbn [pow]; ring).
      rewrite !sum_plus, !sum_scaled, H by lia. f_equal. apply IH; [exact B|lia]. }
  specialize (G d O f F ltac:(lia)). unfold integral in *.
  rewrite (sum_ext N _ (fun j => m j * (x j ^ 0 * f (x j)))), (sum_ext n _ (fun j => v j * (t j ^ 0 * f (t j))))
    by (intros; cbn; ring). exact G.
Qed.

(** ** The moments of Lanczos: V has orthonormal columns, and H V = V T but for the last column. *)

Section Lanczos.

Variables N n : nat.
Variables H T : nat -> nat -> R.
Variable V : nat -> nat -> R.  (** V i: column i *)
Variable g : nat -> R.
Variable size : R.  (** the length of g *)

Definition dot (M : nat) (a b : nat -> R) : R := sum M (fun k => a k * b k).
Definition apply (M : nat) (A : nat -> nat -> R) (a : nat -> R) : nat -> R := fun k => sum M (fun l => A k l * a l).
Definition first (k : nat) : R := match k with O => size | _ => 0 end.

Fixpoint krylov (M : nat) (A : nat -> nat -> R) (a : nat -> R) (p : nat) : nat -> R :=
  match p with
  | O => a
  | S p => apply M A (krylov M A a p)
  end.

Hypothesis symmetric : forall i j, H i j = H j i.
Hypothesis symmetric_T : forall i j, T i j = T j i.
Hypothesis narrow : forall i j, (S j < i)%nat -> T i j = 0.
Hypothesis orthonormal : forall i j, (i < n)%nat -> (j < n)%nat -> dot N (V i) (V j) = if Nat.eqb i j then 1 else 0.
Hypothesis projected : forall i j, (i < n)%nat -> (j < n)%nat -> dot N (V i) (apply N H (V j)) = T i j.
Hypothesis carried : forall j k, (S j < n)%nat -> (k < N)%nat -> apply N H (V j) k = sum n (fun i => V i k * T i j).
Hypothesis starts : forall k, (k < N)%nat -> g k = sum n (fun i => first i * V i k).

Lemma exchanged M A a b : (forall i j, A i j = A j i) -> dot M a (apply M A b) = dot M (apply M A a) b.
Proof.
  intro S0. unfold dot, apply.
  rewrite (sum_ext M _ (fun i => sum M (fun j => a i * A i j * b j))).
  - rewrite sum_swap. apply sum_ext. intros j _. rewrite Rmult_comm, <- sum_scaled. apply sum_ext.
    intros i _. rewrite (S0 j i). ring.
  - intros i _. rewrite <- sum_scaled. apply sum_ext. intros j _. ring.
Qed.

Lemma support p : forall j, (p < j)%nat -> krylov n T first p j = 0.
Proof.
  induction p as [|p IH]; intros j L.
  - destruct j; [lia|reflexivity].
  - cbn [krylov]. unfold apply. rewrite (sum_ext n _ (fun _ => 0)); [apply sum_zero|]. intros i _.
    destruct (Nat.lt_ge_cases p i) as [C|C]; [rewrite IH by exact C; ring|]. rewrite narrow by lia. ring.
Qed.

(** What a vector of the small space is in the large one. *)
Definition lifted (a : nat -> R) : nat -> R := fun k => sum n (fun i => a i * V i k).

Lemma apply_lifted a k : apply N H (lifted a) k = sum n (fun j => a j * apply N H (V j) k).
Proof.
  unfold apply, lifted. rewrite (sum_ext N _ (fun l => sum n (fun j => a j * (H k l * V j l)))).
  - rewrite sum_swap. apply sum_ext. intros j _. now rewrite <- sum_scaled.
  - intros l _. rewrite <- sum_scaled. apply sum_ext. intros j _. ring.
Qed.

Lemma krylov_lifted p : (p < n)%nat -> forall k, (k < N)%nat -> krylov N H g p k = lifted (krylov n T first p) k.
Proof.
  induction p as [|p IH]; intros L k B; [now apply starts|]. cbn [krylov]. unfold apply at 1.
  rewrite (sum_ext N _ (fun l => H k l * lifted (krylov n T first p) l)) by (intros l C; rewrite IH by (assumption || lia); reflexivity).
  change (sum N (fun l => H k l * lifted (krylov n T first p) l)) with (apply N H (lifted (krylov n T first p)) k).
  rewrite apply_lifted. set (c := krylov n T first p).
  rewrite (sum_ext n _ (fun j => sum n (fun i => c j * (V i k * T i j)))).
  - rewrite sum_swap. unfold lifted, apply. apply sum_ext. intros i _. rewrite Rmult_comm, <- sum_scaled.
    apply sum_ext. intros j _. ring.
  - intros j C. rewrite sum_scaled. destruct (Nat.lt_ge_cases p j) as [G|G].
    + unfold c. rewrite support by exact G. ring.
    + f_equal. apply carried; [lia|exact B].
Qed.

Lemma dot_lifted a b : dot N (lifted a) (lifted b) = dot n a b.
Proof.
  unfold dot, lifted. rewrite (sum_ext N _ (fun k => sum n (fun i => sum n (fun j => a i * b j * (V i k * V j k))))).
  - rewrite sum_swap. apply sum_ext. intros i I. rewrite sum_swap.
    rewrite (sum_ext n _ (fun j => (if Nat.eqb i j then 1 else 0) * (a i * b j))).
    + clear - I. induction n as [|M IH]; [lia|]. cbn [sum]. destruct (Nat.eqb_spec i M) as [->|D].
      * rewrite (sum_ext M _ (fun _ => 0)); [rewrite sum_zero; ring|]. intros j J.
        destruct (Nat.eqb_spec M j); [lia|ring].
      * rewrite IH by lia. ring.
    + intros j J. rewrite sum_scaled, <- (orthonormal i j I J). unfold dot. ring.
  - intros k _. rewrite Rmult_comm, <- sum_scaled. apply sum_ext. intros i _.
    rewrite Rmult_comm, <- sum_scaled. apply sum_ext. intros j _. ring.
Qed.

Lemma apply_dot_lifted a b : dot N (lifted a) (apply N H (lifted b)) = dot n a (apply n T b).
Proof.
  unfold dot at 1. rewrite (sum_ext N _ (fun k => sum n (fun i => sum n (fun j =>
    a i * b j * (V i k * apply N H (V j) k))))).
  - rewrite sum_swap. unfold dot, apply at 2. apply sum_ext. intros i I. rewrite sum_swap, <- sum_scaled.
    apply sum_ext. intros j J. rewrite sum_scaled, <- (projected i j I J). unfold dot. ring.
  - intros k _. rewrite apply_lifted. unfold lifted. rewrite Rmult_comm, <- sum_scaled. apply sum_ext. intros i _.
    rewrite Rmult_comm, <- sum_scaled. apply sum_ext. intros j _. ring.
Qed.

Lemma moved M A a p q : (forall i j, A i j = A j i) ->
  dot M a (krylov M A a (p + q)) = dot M (krylov M A a p) (krylov M A a q).
Proof.
  intro S0. revert q. induction p as [|p IH]; intro q; [reflexivity|].
  rewrite Nat.add_succ_l, <- Nat.add_succ_r, IH. cbn [krylov]. now apply exchanged.
Qed.

(** The first 2n moments of the large matrix and of the small one agree. *)
Theorem lanczos_moments d : (d < n + n)%nat ->
  dot N g (krylov N H g d) = dot n first (krylov n T first d).
Proof.
  intro L.
  assert (same : forall p, (p < n)%nat -> forall k, (k < N)%nat -> krylov N H g p k = lifted (krylov n T first p) k)
    by apply krylov_lifted.
  destruct (Nat.lt_ge_cases d n) as [C|C].
  - replace d with (0 + d)%nat by lia. rewrite !moved by assumption. rewrite <- dot_lifted. unfold dot.
    apply sum_ext. intros k B. rewrite !same by (assumption || lia). reflexivity.
  - set (p := (d - n)%nat). replace d with (p + S (n - 1))%nat by (unfold p; lia). rewrite !moved by assumption.
    cbn [krylov]. rewrite <- apply_dot_lifted. unfold dot. apply sum_ext. intros k B.
    rewrite same by (assumption || unfold p; lia). f_equal. unfold apply. apply sum_ext. intros l D.
    rewrite same by (assumption || lia). reflexivity.
Qed.

End Lanczos.
